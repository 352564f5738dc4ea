/* Settings that are replaced while others use them: the old ones are deferred, not freed.
 *
 *     cargo build --release -p gracealloc-preload
 *     cc -I integration/preload/include integration/preload/examples/settings.c -o settings \
 *        -L target/release -lgracealloc_preload -Wl,-rpath,$PWD/target/release
 */
#include <gracealloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct settings {
    int version;
    char name[100];
};

static _Atomic(struct settings *) current;

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

int main(void)
{
    for (int version = 1; version <= 100000; version++) {
        if (replace(version) != 0) {
            perror("replace");
            return 1;
        }
    }
    printf("%s\n", atomic_load(&current)->name);
    gracealloc_deferred_free(atomic_exchange(&current, NULL));
    gracealloc_barrier(); /* all of them have been given back */
    gracealloc_stats_print();
    return 0;
}
