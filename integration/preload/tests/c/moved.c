/* realloc of a large block that cannot grow where it stands: how many pages were touched for it? */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static long faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

int main(void)
{
    enum { MEBIBYTE = 1 << 20, PAGE = 4096 };
    size_t size = 32 * MEBIBYTE;
    long most = 0;
    char *block = malloc(size);
    memset(block, 'x', size);
    for (int round = 0; round < 5; round++) {
        void *volatile in_the_way = malloc(MEBIBYTE);
        long before = faults();
        char *moved = realloc(block, size + 16 * MEBIBYTE);
        long touched = faults() - before;
        if (!moved)
            return 1;
        most = touched > most ? touched : most;
        for (size_t at = 0; at < size; at += PAGE / 2) {
            if (moved[at] != 'x')
                return 2;
        }
        memset(moved, 'x', size += 16 * MEBIBYTE);
        block = moved;
        free(in_the_way);
    }
    printf("%s\n", most < 100 ? "moved" : "copied");
    free(block);
    return 0;
}
