/* Settings that are replaced while others read them: the old ones are deferred, not freed.
 *
 *     cargo build --release -p gracealloc-preload
 *     cc -I integration/preload/include integration/preload/examples/settings.c -o settings -pthread \
 *        -L target/release -lgracealloc_preload -Wl,-rpath,$PWD/target/release
 */
#include <gracealloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READERS = 2, VERSIONS = 100000 };

struct settings {
    int version;
    char name[100];
};

static _Atomic(struct settings *) current;
static atomic_int stop;

/* Publishes new settings. Who looks at the old ones goes on looking; their memory comes back afterwards. */
static int replace(int version)
{
    struct settings *fresh = malloc(sizeof *fresh);
    if (!fresh)
        return -1;
    fresh->version = version;
    snprintf(fresh->name, sizeof fresh->name, "settings %d", version);
    gracealloc_deferred_free(atomic_exchange(&current, fresh)); /* null the first time: nothing happens */
    return 0;
}

/* Reads until the last version is there. What is read stays whole as long as the section is open. */
static void *reader(void *torn)
{
    for (int version = 0; version != VERSIONS && !atomic_load(&stop);) {
        char expected[100];
        gracealloc_reader section = gracealloc_read_enter();
        const struct settings *seen = atomic_load(&current);
        version = seen->version;
        snprintf(expected, sizeof expected, "settings %d", version);
        if (strcmp(expected, seen->name) != 0)
            atomic_fetch_add((atomic_int *)torn, 1);
        gracealloc_read_leave(section);
    }
    return NULL;
}

int main(void)
{
    pthread_t readers[READERS];
    atomic_int torn = 0;
    int started = 0, failed = replace(1);
    while (!failed && started < READERS) {
        failed = pthread_create(&readers[started], NULL, reader, &torn);
        started += !failed;
    }
    for (int version = 2; !failed && version <= VERSIONS; version++)
        failed = replace(version);
    atomic_store(&stop, failed != 0); /* else they end with the last version */
    while (started > 0)
        pthread_join(readers[--started], NULL);
    if (failed)
        return 1;
    printf("%s, %d torn\n", atomic_load(&current)->name, torn);
    gracealloc_deferred_free(atomic_exchange(&current, NULL));
    gracealloc_barrier(); /* all of them have been given back */
    gracealloc_stats_print();
    return torn != 0;
}
