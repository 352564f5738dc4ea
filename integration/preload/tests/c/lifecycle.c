/* A process from before its constructors until after its destructors: threads, forks, vforks, and libraries with thread-local
 * storage that are loaded meanwhile. Arguments: copies of the library that thread_local.c makes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
    ((condition) ? (void)0 : (printf("line %d: %s\n", __LINE__, #condition), fflush(stdout), _exit(1)))

enum { THREADS = 8, ROUNDS = 300 };

static char *early;
static pthread_key_t key;
static char **libraries;
static int library_count;

static void fill_and_free(int rounds)
{
    char *blocks[200] = { 0 };
    for (int round = 0; round < rounds; round++) {
        int at = round % 200;
        free(blocks[at]);
        size_t size = (size_t)round * 7919 % 3000 + (round % 100 == 0 ? 100000 : 1);
        CHECK((blocks[at] = malloc(size)));
        memset(blocks[at], round, size);
    }
    for (int at = 0; at < 200; at++)
        free(blocks[at]);
}

__attribute__((constructor(101))) static void before_constructors(void)
{
    early = strdup("from before");
    fill_and_free(1000);
}

__attribute__((destructor(101))) static void after_destructors(void)
{
    fill_and_free(1000);
    free(early);
    early = malloc(10);
}

static void at_exit(void)
{
    fill_and_free(1000);
}

/* Runs when the thread's own storage is being destroyed, and leaves some more for the next round. */
static void end_of_thread(void *block)
{
    fill_and_free(100);
    int left = *(int *)block;
    free(block);
    if (left > 0) {
        int *again = malloc(sizeof *again);
        *again = left - 1;
        pthread_setspecific(key, again);
    }
}

static void *allocate_beside(void *stop)
{
    int *rounds = malloc(sizeof *rounds);
    *rounds = 2;
    pthread_setspecific(key, rounds);
    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
        fill_and_free(500);
    return NULL;
}

/* Every library makes each thread's table of them longer, in the middle of whatever that thread does. */
static void *use_libraries(void *unused)
{
    for (int i = 0; i < library_count; i++) {
        void *library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
        CHECK(library);
        int (*count)(void) = (int (*)(void))(uintptr_t)dlsym(library, "count");
        CHECK(count && count() == 1 && count() == 2);
        fill_and_free(50);
        if (i % 3 == 0)
            dlclose(library);
    }
    return unused;
}

static void expect_success(pid_t child)
{
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fork_and_exec(int round)
{
    pid_t child = round % 2 ? fork() : vfork();
    if (child == 0) {
        if (round % 2)
            fill_and_free(2000);
        if (round % 4 == 3)
            _exit(0);
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    expect_success(child);
}

static void fork_with_threads(void)
{
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, use_libraries, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        exit(0); /* with destructors */
    }
    expect_success(child);
}

int main(int argc, char **argv)
{
    libraries = argv + 1;
    library_count = argc - 1;
    CHECK(strcmp(early, "from before") == 0);
    CHECK(atexit(at_exit) == 0 && pthread_key_create(&key, end_of_thread) == 0);
    pthread_t threads[THREADS], loaders[2];
    int stop = 0;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_beside, &stop) == 0);
    for (int i = 0; i < ROUNDS / 10; i++)
        fork_and_exec(i);
    fork_with_threads();
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&loaders[i], NULL, use_libraries, NULL) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(loaders[i], NULL) == 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    puts("a whole life");
    return 0;
}
