/* gracealloc for C: readers, frees that wait for them, and what belongs to both.
 *
 * malloc, free and their kin come with the library and need no header of their own: <stdlib.h> declares them.
 *
 *     cc program.c -lgracealloc_preload
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

/* Between the two nothing comes back to malloc that this thread can reach and somebody defers. They nest, in any order; each
 * section is left once, on the thread that entered it. Entering never blocks and cannot fail; in a signal handler it stands
 * inside an atomic section. To leave without having entered ends the process, where that can be seen. */
gracealloc_reader gracealloc_read_enter(void);
void gracealloc_read_leave(gracealloc_reader reader);

/* Frees a block of malloc and its kin once every reader has left that was active at the call. Null is permitted.
 *
 *   - The block is unlinked: nobody who becomes a reader after the call can reach it.
 *   - It is not freed elsewhere, nor deferred twice. A pointer that is not malloc's ends the process.
 *
 * It cannot fail. It blocks, for at most 100 ms (GRACEALLOC_WAIT_LIMIT_MS), only where the budget for what waits is spent and
 * the caller is neither a reader nor in an atomic section. errno stays. */
void gracealloc_deferred_free(void *block);

/* Waits until every reader has left that is active now. By a reader, or in an atomic section, it would wait for itself: that
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
