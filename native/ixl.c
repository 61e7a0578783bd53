/*
 * The optional C shim: what JavaScript cannot express (memory barriers that
 * reach a device), and a poll() that returns -errno, because errno may be gone
 * by the time that JavaScript asks for it.
 *
 * Built by `deno task native`; the library works without it.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>

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

/* `set` is an array of struct pollfd: int fd, short events, short revents. */
IXL_EXPORT int64_t ixl_poll(void *set, uint64_t count, int32_t timeout_ms) {
	int ready = poll(set, (nfds_t)count, timeout_ms);
	return ready < 0 ? -errno : ready;
}
