/* Deferral from C: everything comes back, also what only atomic sections and children of a fork have left. */
#include <gracealloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, BLOCKS = 100000 };

static void defer_many(int count)
{
    for (int i = 0; i < count; i++) {
        size_t size = i % 1000 == 0 ? 100000 : (size_t)i % 700;
        char *block = malloc(size);
        if (!block)
            abort();
        memset(block, 1, size);
        gracealloc_deferred_free(block);
    }
}

static void *life(void *unused)
{
    defer_many(BLOCKS);
    char *block = malloc(100);
    gracealloc_atomic_enter();
    gracealloc_atomic_enter();
    gracealloc_deferred_free(block);
    gracealloc_atomic_leave();
    gracealloc_deferred_free(NULL);
    gracealloc_atomic_leave();
    gracealloc_synchronize();
    return unused;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, life, NULL);
    pid_t child = fork();
    if (child == 0) {
        defer_many(BLOCKS);
        gracealloc_barrier();
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    gracealloc_barrier();
    gracealloc_stats_print();
    return status;
}
