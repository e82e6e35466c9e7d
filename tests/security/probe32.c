/* getpid (20) by the kernel's 32-bit entry, whose numbers are not x86-64's. */
long old_getpid(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
    return result;
}
