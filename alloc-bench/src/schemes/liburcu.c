/* What liburcu's headers define inline. A barrier keeps the compiler from making one section of two. */

#include <stdint.h>

#define _LGPL_SOURCE
#include <urcu/urcu-memb.h>
#include <urcu/compiler.h>

void alloc_bench_urcu_lock(void)
{
	urcu_memb_read_lock();
}

void alloc_bench_urcu_unlock(void)
{
	urcu_memb_read_unlock();
}

void alloc_bench_urcu_sections(uint64_t times)
{
	for (; times; times--) {
		urcu_memb_read_lock();
		cmm_barrier();
		urcu_memb_read_unlock();
	}
}
