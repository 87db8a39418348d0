/* LD_PRELOAD shim that puts an unmodified Luanti (minetest) client into lockstep with a controller.
 *
 * It replaces the two monotonic clocks by a virtual one and hooks glXSwapBuffers. Once the controller raises `go`, each
 * finished frame is copied to shared memory, announced by one byte on a socket, and the client sleeps until the
 * controller answers with one byte; then virtual time advances by exactly one step.
 *
 * Where the controller asks for it, the depth of the world is copied too. The game clears depth alone once the world is
 * drawn, before it draws the hand, and again for the items of the hotbar: what the first such glClear of a frame would
 * erase is the depth of that very frame's world.
 *
 * In every program it is preloaded into (the X server too) it asks the kernel for SIGKILL on the owner's death.
 *
 * Environment (removed at start, so that no child inherits it):
 *   WORLDSIM_OWNER    process id of the owner
 *   WORLDSIM_SOCKET   descriptor of a connected stream socket (only in the client)
 *   WORLDSIM_FRAMES   descriptor of the shared memory: struct header, then BGRA rows from the bottom up,
 *                     then as many rows of depth, float32 as OpenGL has it (0 near, 1 far)
 *   WORLDSIM_STEP_NS  virtual nanoseconds a frame
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 64
#define GL_VIEWPORT 0x0BA2
#define GL_PROJECTION_MATRIX 0x0BA7
#define GL_BGRA 0x80E1
#define GL_DEPTH_COMPONENT 0x1902
#define GL_UNSIGNED_BYTE 0x1401
#define GL_FLOAT 0x1406
#define GL_DEPTH_BUFFER_BIT 0x0100

struct header { /* shim.py reads the same layout */
	_Atomic uint32_t go;
	uint32_t width, height, frames;
	int64_t time_ns;
	uint32_t wants_depth; /* set by the controller */
	uint32_t has_depth;   /* the depth of the present frame was copied */
	float projection[4];  /* elements 0, 10, 11 and 14 of the matrix that drew the world */
};
_Static_assert(sizeof(struct header) <= HEADER_BYTES, "header does not fit");

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static void (*real_swap)(void *, unsigned long);
static void (*read_pixels)(int, int, int, int, unsigned, unsigned, void *);
static void (*get_integers)(unsigned, int *);
static void (*get_floats)(unsigned, float *);
static void (*real_clear)(unsigned);

static struct header *shared;
static size_t shared_bytes;
static int depth_taken; /* in the frame that is being drawn */
static int controller = -1;
static int64_t step_ns = 50000000;
static _Atomic int64_t virtual_ns; /* 0: the real clock is shown */

static void fail(const char *why)
{
	fprintf(stderr, "worldsim lockstep: %s\n", why);
	_exit(70);
}

static void *symbol(void *where, const char *name)
{
	void *found = dlsym(where, name);
	if (!found)
		fail(name);
	return found;
}

static long take_number(const char *name)
{
	const char *text = getenv(name);
	long value = text ? strtol(text, NULL, 10) : -1;
	unsetenv(name);
	return value;
}

/* The kernel's death signal follows the thread that forked us; the socket's end follows the whole owner. */
static void *watch_controller(void *unused)
{
	struct pollfd hangup = {.fd = controller, .events = POLLRDHUP};
	(void)unused;
	while (poll(&hangup, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

__attribute__((constructor)) static void start(void)
{
	long owner = take_number("WORLDSIM_OWNER");
	real_clock_gettime = (int (*)(clockid_t, struct timespec *))symbol(RTLD_NEXT, "clock_gettime");
	if (owner <= 0)
		return;
	unsetenv("LD_PRELOAD");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != (pid_t)owner)
		_exit(0); /* the owner died before we asked */
	controller = (int)take_number("WORLDSIM_SOCKET");
	int frames = (int)take_number("WORLDSIM_FRAMES");
	long step = take_number("WORLDSIM_STEP_NS");
	if (controller < 0)
		return; /* not the game: only the death signal is wanted */
	struct stat info;
	if (frames < 0 || fstat(frames, &info) != 0 || info.st_size < HEADER_BYTES)
		fail("no shared memory");
	shared_bytes = (size_t)info.st_size;
	void *memory = mmap(NULL, shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, frames, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	shared = memory;
	if (step > 0)
		step_ns = step;
	pthread_t watcher;
	if (pthread_create(&watcher, NULL, watch_controller, NULL) != 0)
		fail("pthread_create");
	pthread_detach(watcher);
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	if (!real_clock_gettime)
		real_clock_gettime = (int (*)(clockid_t, struct timespec *))symbol(RTLD_NEXT, "clock_gettime");
	int64_t now = atomic_load_explicit(&virtual_ns, memory_order_relaxed);
	if (now && (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW)) {
		out->tv_sec = now / 1000000000LL;
		out->tv_nsec = now % 1000000000LL;
		return 0;
	}
	return real_clock_gettime(clock, out);
}

/* The window's place and size; returns how many pixels it has. */
static size_t read_viewport(int viewport[4])
{
	if (!read_pixels) {
		read_pixels = (void (*)(int, int, int, int, unsigned, unsigned, void *))symbol(RTLD_DEFAULT, "glReadPixels");
		get_integers = (void (*)(unsigned, int *))symbol(RTLD_DEFAULT, "glGetIntegerv");
		get_floats = (void (*)(unsigned, float *))symbol(RTLD_DEFAULT, "glGetFloatv");
	}
	get_integers(GL_VIEWPORT, viewport);
	if (viewport[2] <= 0 || viewport[3] <= 0 ||
			(size_t)viewport[2] * (size_t)viewport[3] * 8 > shared_bytes - HEADER_BYTES)
		fail("the window is larger than the shared memory");
	return (size_t)viewport[2] * (size_t)viewport[3];
}

static void copy_depth(void)
{
	int viewport[4];
	float matrix[16];
	size_t pixels = read_viewport(viewport);
	get_floats(GL_PROJECTION_MATRIX, matrix);
	shared->projection[0] = matrix[0];
	shared->projection[1] = matrix[10];
	shared->projection[2] = matrix[11];
	shared->projection[3] = matrix[14];
	read_pixels(viewport[0], viewport[1], viewport[2], viewport[3], GL_DEPTH_COMPONENT, GL_FLOAT,
		(uint8_t *)shared + HEADER_BYTES + pixels * 4);
}

void glClear(unsigned mask)
{
	if (!real_clear)
		real_clear = (void (*)(unsigned))symbol(RTLD_NEXT, "glClear");
	if (mask == GL_DEPTH_BUFFER_BIT && !depth_taken && shared && shared->wants_depth && atomic_load(&shared->go)) {
		copy_depth();
		depth_taken = 1;
	}
	real_clear(mask);
}

static void copy_picture(void)
{
	int viewport[4];
	read_viewport(viewport);
	read_pixels(viewport[0], viewport[1], viewport[2], viewport[3], GL_BGRA, GL_UNSIGNED_BYTE,
		(uint8_t *)shared + HEADER_BYTES);
	shared->width = (uint32_t)viewport[2];
	shared->height = (uint32_t)viewport[3];
}

void glXSwapBuffers(void *display, unsigned long drawable)
{
	if (!real_swap)
		real_swap = (void (*)(void *, unsigned long))symbol(RTLD_NEXT, "glXSwapBuffers");
	if (!shared || !atomic_load(&shared->go)) {
		real_swap(display, drawable);
		return;
	}
	if (!virtual_ns) {
		struct timespec now;
		real_clock_gettime(CLOCK_MONOTONIC_RAW, &now);
		virtual_ns = now.tv_sec * 1000000000LL + now.tv_nsec;
	}
	shared->has_depth = (uint32_t)depth_taken;
	depth_taken = 0;
	copy_picture(); /* nobody looks at the X server's window: the swap itself is left out */
	shared->time_ns = virtual_ns;
	shared->frames++;
	char byte = 'f';
	ssize_t count;
	while ((count = send(controller, &byte, 1, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	if (count == 1)
		while ((count = recv(controller, &byte, 1, 0)) < 0 && errno == EINTR)
			;
	if (count != 1)
		_exit(0); /* the controller is gone */
	virtual_ns += step_ns;
}
