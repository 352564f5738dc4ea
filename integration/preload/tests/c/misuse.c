/* One misuse each; the address is printed first, so that the test knows the line that must follow. */
#include <gracealloc.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char elsewhere[4096] __attribute__((aligned(4096)));
static void (*volatile release)(void *) = free;
static void *(*volatile resize)(void *, size_t) = realloc;

static char *shown(void *block)
{
    printf("%p\n", block);
    fflush(stdout);
    return block;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "free elsewhere"))
        release(shown(elsewhere));
    else if (!strcmp(what, "free inside"))
        release(shown((char *)malloc(100) + 8));
    else if (!strcmp(what, "free inside large"))
        release(shown((char *)malloc(1 << 20) + 64));
    else if (!strcmp(what, "free large twice")) {
        char *block = shown(malloc(1 << 20));
        gracealloc_atomic_enter(); /* it is marked now, and goes back later */
        release(block);
        release(block);
    } else if (!strcmp(what, "realloc elsewhere"))
        resize(shown(elsewhere), 10);
    else if (!strcmp(what, "size elsewhere"))
        return (int)malloc_usable_size(shown(elsewhere));
    else if (!strcmp(what, "defer elsewhere"))
        gracealloc_deferred_free(shown(elsewhere));
    else if (!strcmp(what, "leave"))
        gracealloc_atomic_leave();
    else if (!strcmp(what, "synchronize in a section")) {
        gracealloc_atomic_enter();
        gracealloc_synchronize();
    } else if (!strcmp(what, "barrier in a section")) {
        gracealloc_atomic_enter();
        gracealloc_barrier();
    }
    return 0;
}
