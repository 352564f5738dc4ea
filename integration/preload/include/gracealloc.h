/* gracealloc for C: readers, frees that wait for them, and what belongs to both.
 *
 * malloc, free and their kin come with the library and need no header of their own: <stdlib.h> declares them.
 *
 *     cc -I integration/preload/include program.c -L target/release -lgracealloc_preload -Wl,-rpath,$PWD/target/release
 *
 * A block that other threads may still be looking at is unlinked and then given to gracealloc_deferred_free, which costs about
 * what free costs. It comes back to malloc once every reader has left that was active at the call.
 */
#ifndef GRACEALLOC_H
#define GRACEALLOC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open section of a reader. */
typedef struct gracealloc_reader {
    uint64_t number;
} gracealloc_reader;

/* Between the two, what is unlinked and deferred does not come back to malloc. Sections nest and may be left in any order; what
 * was found before a section was entered, under an older one, is protected by that one alone. Each is left once, on the thread
 * that entered it: one that is never left (a thread that ends, is cancelled, or jumps out with longjmp) holds everything up for
 * ever. Entering never blocks and cannot fail. In a signal handler a section stands inside an atomic section and ends with the
 * handler; a library that is loaded by dlopen enters one on each thread before its handlers do. To leave without having entered
 * ends the process. */
gracealloc_reader gracealloc_read_enter(void);
void gracealloc_read_leave(gracealloc_reader reader);

/* Frees a block of malloc and its kin once every reader has left that was active at the call. Null is permitted.
 *
 *   - The block is unlinked: nobody who becomes a reader after the call can reach it. (It was published with release and is
 *     loaded with acquire or consume.)
 *   - Nobody but readers from before the call uses it any more. It is not freed elsewhere, nor deferred twice. (free and realloc of
 *     a block that others may look at give it back at once.)
 *   - A pointer that is not malloc's ends the process; one into a small block does where it goes back to its span.
 *
 * It cannot fail. It blocks, for at most 100 ms (GRACEALLOC_WAIT_LIMIT_MS), only where the budget for what waits is spent and
 * the caller is neither a reader nor in an atomic section. errno stays. */
void gracealloc_deferred_free(void *block);

/* Waits until every reader has left that is active now, for ever if one does not leave. By a reader, or in an atomic section, it would wait for itself: that
 * ends the process. */
void gracealloc_synchronize(void);

/* Waits until everything that was deferred before the call has been given back. As for gracealloc_synchronize. */
void gracealloc_barrier(void);

/* Between the two this thread must not block: malloc is served from caches and from memory set aside, returns null when those
 * are empty and for more than 32 KiB; free and gracealloc_deferred_free cannot fail. They nest. A signal handler begins with
 * one and ends with the other. To leave without having entered ends the process. */
void gracealloc_atomic_enter(void);
void gracealloc_atomic_leave(void);

/* Prints the heap's statistics on standard error. */
void gracealloc_stats_print(void);

#ifdef __cplusplus
}
#endif

#endif
