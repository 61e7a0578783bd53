/*
 * The optional C shim: what JavaScript cannot express (memory barriers that
 * reach a device, a pause for spin loops) and system calls that return -errno,
 * because errno may be gone by the time that JavaScript asks for it.
 *
 * Built by `deno task native`; the library works without it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define IXL_EXPORT __attribute__((visibility("default")))

/* Raise it when a function changes, so that the loader can refuse a stale build. */
#define IXL_ABI_VERSION 1

IXL_EXPORT uint32_t ixl_version(void) { return IXL_ABI_VERSION; }

/*
 * Stores before it are seen by the device before stores after it: descriptors
 * before their doorbell. A device is outside the inner-shareable domain on
 * arm64, hence "oshst". On x86-64 stores to write-back and uncached memory are
 * seen in order (Intel SDM volume 3, section 9.2.2), but a store to a
 * write-combining BAR may overtake them, hence "sfence".
 */
IXL_EXPORT void ixl_store_barrier(void) {
#if defined(__aarch64__)
	__asm__ __volatile__("dmb oshst" ::: "memory");
#elif defined(__x86_64__)
	__asm__ __volatile__("sfence" ::: "memory");
#else
#error "ixl runs on x86-64 and arm64"
#endif
}

/*
 * Loads before it happen before loads after it: a descriptor's "done" bit
 * before the rest of the descriptor. x86-64 keeps loads in order by itself.
 */
IXL_EXPORT void ixl_load_barrier(void) {
#if defined(__aarch64__)
	__asm__ __volatile__("dmb oshld" ::: "memory");
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

/* Nothing crosses it: a doorbell before a look at whether to sleep. */
IXL_EXPORT void ixl_full_barrier(void) {
#if defined(__aarch64__)
	__asm__ __volatile__("dmb osh" ::: "memory");
#else
	__asm__ __volatile__("mfence" ::: "memory");
#endif
}

/* Tells the core that this is a spin loop: saves power, yields to its sibling. */
IXL_EXPORT void ixl_cpu_pause(void) {
#if defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#else
	__asm__ __volatile__("pause" ::: "memory");
#endif
}

/*
 * Register access that the compiler can neither drop, repeat nor split.
 * Registers are little-endian, and so is every machine that ixl runs on.
 */
IXL_EXPORT uint32_t ixl_read32(uint64_t address) {
	return *(const volatile uint32_t *)(uintptr_t)address;
}

IXL_EXPORT void ixl_write32(uint64_t address, uint32_t value) {
	*(volatile uint32_t *)(uintptr_t)address = value;
}

static int64_t result(int64_t value) { return value < 0 ? -errno : value; }

IXL_EXPORT int64_t ixl_open(const char *path, int32_t flags, uint32_t mode) {
	return result(open(path, flags | O_CLOEXEC, (mode_t)mode));
}

IXL_EXPORT int64_t ixl_close(int32_t fd) { return result(close(fd)); }

IXL_EXPORT int64_t ixl_read(int32_t fd, void *buffer, uint64_t length) {
	return result(read(fd, buffer, (size_t)length));
}

IXL_EXPORT int64_t ixl_write(int32_t fd, const void *buffer, uint64_t length) {
	return result(write(fd, buffer, (size_t)length));
}

IXL_EXPORT int64_t ixl_pread(int32_t fd, void *buffer, uint64_t length,
                             int64_t offset) {
	return result(pread(fd, buffer, (size_t)length, (off_t)offset));
}

IXL_EXPORT int64_t ixl_pwrite(int32_t fd, const void *buffer, uint64_t length,
                              int64_t offset) {
	return result(pwrite(fd, buffer, (size_t)length, (off_t)offset));
}

/* The argument is an address or a number, as the request has it. */
IXL_EXPORT int64_t ixl_ioctl(int32_t fd, uint64_t request, uint64_t argument) {
	return result(ioctl(fd, (unsigned long)request, (unsigned long)argument));
}

/* `set` is an array of struct pollfd: int fd, short events, short revents. */
IXL_EXPORT int64_t ixl_poll(void *set, uint64_t count, int32_t timeout_ms) {
	return result(poll((struct pollfd *)set, (nfds_t)count, timeout_ms));
}

IXL_EXPORT int64_t ixl_eventfd(uint32_t initial, int32_t flags) {
	return result(eventfd(initial, flags | EFD_CLOEXEC));
}

IXL_EXPORT int64_t ixl_memfd_create(const char *name, uint32_t flags) {
	return result(memfd_create(name, flags | MFD_CLOEXEC));
}

IXL_EXPORT int64_t ixl_ftruncate(int32_t fd, int64_t length) {
	return result(ftruncate(fd, (off_t)length));
}

/* User-space addresses end below 2^63, so a negative value is always -errno. */
IXL_EXPORT int64_t ixl_mmap(uint64_t address, uint64_t length,
                            int32_t protection, int32_t flags, int32_t fd,
                            int64_t offset) {
	void *mapped = mmap((void *)(uintptr_t)address, (size_t)length, protection,
	                    flags, fd, (off_t)offset);
	return mapped == MAP_FAILED ? -errno : (int64_t)(intptr_t)mapped;
}

IXL_EXPORT int64_t ixl_munmap(uint64_t address, uint64_t length) {
	return result(munmap((void *)(uintptr_t)address, (size_t)length));
}

IXL_EXPORT int64_t ixl_mlock(uint64_t address, uint64_t length) {
	return result(mlock((const void *)(uintptr_t)address, (size_t)length));
}

IXL_EXPORT int64_t ixl_madvise(uint64_t address, uint64_t length,
                               int32_t advice) {
	return result(madvise((void *)(uintptr_t)address, (size_t)length, advice));
}

/* Pins the calling thread to one core. */
IXL_EXPORT int64_t ixl_pin_to_cpu(uint32_t cpu) {
	cpu_set_t set;
	if (cpu >= CPU_SETSIZE) return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return result(sched_setaffinity(0, sizeof(set), &set));
}
