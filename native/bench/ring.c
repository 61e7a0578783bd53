/*
 * What receiving, touching and sending costs in C: the loop of a classic
 * user-space driver on one ring pair in memory, in one thread. The card is a few
 * lines here too, the same as in bench/intel_rings.ts.
 *
 * Runs on the core whose number is its argument, 0 by default. Reads lines
 * "LAYOUT RING BATCH SIZE PACKETS ENTRY" and answers each with the
 * nanoseconds a packet took. LAYOUT is "advanced" (82599, 82576) or "legacy"
 * (8254x). ENTRY is the bytes of a packet with its head: 2048 is the classic
 * layout, where the heads of all packets meet in the same few cache sets; 2112
 * is as our pools have it.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define POOL_FACTOR 4
#define RECLAIM_BLOCK 32
#define HUGEPAGE (2u << 20)

/* Advanced descriptors: 82599 datasheet 7.1.6 and 7.2.3. */
#define DONE 1u
#define END_OF_PACKET 2u
#define DATA_COMMAND ((0x3u << 20) | (1u << 29) | (1u << 25) | (1u << 24))
#define REPORT_STATUS (1u << 27)
#define PAYLEN_SHIFT 14
/* Legacy descriptors: 8254x manual 3.2.3 and 3.3.3. */
#define LEGACY_COMMAND ((1u << 25) | (1u << 24))

struct descriptor {
	uint32_t word[4];
};

/* A packet's head, on a cache line before its data. */
struct packet {
	uint64_t address;
	struct pool *pool;
	uint32_t index;
	uint32_t size;
	uint8_t reserved[40];
	uint8_t data[];
};

struct pool {
	uint32_t free;
	uint32_t *stack;
	char *packets;
	size_t entry;
	size_t bytes;
};

struct queue {
	uint32_t depth;
	volatile struct descriptor *rx, *tx;
	struct packet **rx_packets, **tx_packets;
	uint32_t rx_next, tx_next, tx_clean;
	volatile uint32_t rx_tail, tx_tail;
	struct pool *pool;
	uint32_t command;
	bool legacy;
};

/* The card's own positions. */
struct card {
	uint32_t rx_head, tx_head;
};

static void *map(size_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    flags | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	memset(memory, 0, bytes);
	return memory;
}

static struct packet *packet_at(struct pool *pool, uint32_t index)
{
	return (struct packet *)(pool->packets + index * pool->entry);
}

static struct packet *allocate(struct pool *pool)
{
	if (pool->free == 0)
		return NULL;
	return packet_at(pool, pool->stack[--pool->free]);
}

static void release(struct packet *packet)
{
	packet->pool->stack[packet->pool->free++] = packet->index;
}

static void arm(volatile struct descriptor *descriptor, const struct packet *packet)
{
	descriptor->word[0] = (uint32_t)packet->address;
	descriptor->word[1] = packet->address >> 32;
	descriptor->word[2] = 0;
	descriptor->word[3] = 0;
}

static uint32_t receive(struct queue *queue, struct packet **batch, uint32_t most)
{
	uint32_t mask = queue->depth - 1, next = queue->rx_next, count = 0;
	uint32_t status_word = queue->legacy ? 3 : 2;
	uint32_t length_word = queue->legacy ? 2 : 3;

	for (; count < most; count++) {
		volatile struct descriptor *descriptor = &queue->rx[next];
		uint32_t status = descriptor->word[status_word];
		if (!(status & DONE))
			break;
		if (!(status & END_OF_PACKET)) {
			fprintf(stderr, "a packet in several buffers\n");
			exit(1);
		}
		struct packet *fresh = allocate(queue->pool);
		if (fresh == NULL)
			break;
		struct packet *packet = queue->rx_packets[next];
		packet->size = descriptor->word[length_word] & 0xffff;
		arm(descriptor, fresh);
		queue->rx_packets[next] = fresh;
		batch[count] = packet;
		next = (next + 1) & mask;
	}
	if (count > 0) {
		queue->rx_next = next;
		queue->rx_tail = (next - 1) & mask;
	}
	return count;
}

static void reclaim(struct queue *queue)
{
	uint32_t mask = queue->depth - 1;

	for (;;) {
		uint32_t used = (queue->tx_next - queue->tx_clean) & mask;
		if (used < RECLAIM_BLOCK)
			return;
		uint32_t last = (queue->tx_clean + RECLAIM_BLOCK - 1) & mask;
		if (!(queue->tx[last].word[3] & DONE))
			return;
		for (uint32_t i = queue->tx_clean;; i = (i + 1) & mask) {
			release(queue->tx_packets[i]);
			if (i == last)
				break;
		}
		queue->tx_clean = (last + 1) & mask;
	}
}

static uint32_t send(struct queue *queue, struct packet **batch, uint32_t count)
{
	uint32_t mask = queue->depth - 1, next = queue->tx_next, sent = 0;

	reclaim(queue);
	for (; sent < count; sent++) {
		uint32_t following = (next + 1) & mask;
		if (following == queue->tx_clean)
			break;
		struct packet *packet = batch[sent];
		volatile struct descriptor *descriptor = &queue->tx[next];
		descriptor->word[0] = (uint32_t)packet->address;
		descriptor->word[1] = packet->address >> 32;
		descriptor->word[2] = queue->command | packet->size;
		descriptor->word[3] = queue->legacy ? 0
						    : packet->size << PAYLEN_SHIFT;
		queue->tx_packets[next] = packet;
		next = following;
	}
	queue->tx_next = next;
	queue->tx_tail = next;
	return sent;
}

/* The card's side: fills `count` receive descriptors, sends what is there. */
static void step(struct queue *queue, struct card *card, uint32_t count, uint32_t size)
{
	uint32_t mask = queue->depth - 1;
	uint32_t status_word = queue->legacy ? 3 : 2;
	uint32_t length_word = queue->legacy ? 2 : 3;

	for (uint32_t i = 0; i < count; i++) {
		volatile struct descriptor *descriptor = &queue->rx[card->rx_head];
		/* Legacy descriptors keep their address there. */
		if (!queue->legacy)
			descriptor->word[0] = 0;
		descriptor->word[length_word] = size;
		descriptor->word[status_word] = DONE | END_OF_PACKET;
		card->rx_head = (card->rx_head + 1) & mask;
	}
	for (; card->tx_head != queue->tx_tail; card->tx_head = (card->tx_head + 1) & mask) {
		volatile struct descriptor *descriptor = &queue->tx[card->tx_head];
		if (descriptor->word[2] & REPORT_STATUS)
			descriptor->word[3] = DONE;
	}
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

static void fill_pool(struct pool *pool, uint32_t entries, size_t entry)
{
	pool->entry = entry;
	pool->bytes = (entries * entry + HUGEPAGE - 1) & ~(size_t)(HUGEPAGE - 1);
	pool->packets = map(pool->bytes);
	pool->stack = calloc(entries, sizeof(*pool->stack));
	pool->free = 0;
	for (uint32_t i = entries; i-- > 0;) {
		struct packet *packet = packet_at(pool, i);
		packet->address = (uintptr_t)packet->data;
		packet->pool = pool;
		packet->index = i;
		pool->stack[pool->free++] = i;
	}
}

static double measure(bool legacy, uint32_t depth, uint32_t most, uint32_t size,
		      uint64_t packets, size_t entry)
{
	struct pool pool;
	struct card card = { 0 };
	struct packet *batch[4096];
	size_t ring_bytes = (2 * depth * sizeof(struct descriptor) + HUGEPAGE - 1) & ~(size_t)(HUGEPAGE - 1);
	void *rings = map(ring_bytes);
	struct queue queue = {
		.depth = depth,
		.rx = rings,
		.tx = (struct descriptor *)rings + depth,
		.rx_packets = calloc(depth, sizeof(void *)),
		.tx_packets = calloc(depth, sizeof(void *)),
		.pool = &pool,
		.command = (legacy ? LEGACY_COMMAND : DATA_COMMAND) | REPORT_STATUS,
		.legacy = legacy,
	};

	fill_pool(&pool, POOL_FACTOR * depth, entry);
	for (uint32_t i = 0; i < depth; i++) {
		queue.rx_packets[i] = allocate(&pool);
		arm(&queue.rx[i], queue.rx_packets[i]);
	}
	double start = 0;
	/* The first part warms up. */
	uint64_t warm = packets / 4;
	for (uint64_t done = 0; done < packets + warm; done += most) {
		if (start == 0 && done >= warm)
			start = now();
		step(&queue, &card, most, size);
		uint32_t received = receive(&queue, batch, most);
		for (uint32_t i = 0; i < received; i++)
			batch[i]->data[0] ^= 1;
		if (send(&queue, batch, received) != most) {
			fprintf(stderr, "a packet is gone\n");
			exit(1);
		}
	}
	double ns = (now() - start) / packets;
	munmap(rings, ring_bytes);
	munmap(pool.packets, pool.bytes);
	free(pool.stack);
	free(queue.rx_packets);
	free(queue.tx_packets);
	return ns;
}

int main(int argc, char **argv)
{
	cpu_set_t cpus;
	char layout[16];
	unsigned depth, most, size;
	unsigned long packets, entry;

	/* Where our side runs, too. */
	CPU_ZERO(&cpus);
	CPU_SET(argc > 1 ? atoi(argv[1]) : 0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0) {
		perror("sched_setaffinity");
		return 1;
	}
	while (scanf("%15s %u %u %u %lu %lu", layout, &depth, &most, &size, &packets, &entry) == 6) {
		bool legacy = strcmp(layout, "legacy") == 0;
		printf("%.3f\n", measure(legacy, depth, most, size, packets, entry));
		fflush(stdout);
	}
	return 0;
}
