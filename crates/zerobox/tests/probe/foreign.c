/*
 * A 32-bit program that needs nothing (no C library, no loader) and exits 0 by the 32-bit gate.
 *
 *   cc -m32 -static -nostdlib -o foreign foreign.c
 */
void _start(void)
{
	__asm__ volatile("int $0x80" : : "a"(1), "b"(0));
	for (;;)
		;
}
