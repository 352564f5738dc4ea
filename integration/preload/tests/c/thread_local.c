/* A library with thread-local storage, of which lifecycle.c loads many copies. */
static __thread int calls;
static __thread char block[4096];

int count(void)
{
    block[calls] = 1;
    return ++calls;
}
