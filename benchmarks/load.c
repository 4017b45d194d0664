// The load on a server: a WebSocket client of many connections, that costs less than any server it measures.
//
//   load echo PORT PID CONNECTIONS SIZE IN_FLIGHT SECONDS [raw]    each message is answered with itself
//   load broadcast PORT PID CONNECTIONS SIZE SECONDS [raw]         each message goes to all connections
//   load handshakes PORT PID SECONDS [raw]                         connections are opened and cut, 32 at a time
//       print "COUNT SECONDS CPU": how many messages (delivered) or handshakes, in how long, and the CPU seconds that
//       process PID (0: this one) spent meanwhile
//   load hold PORT CONNECTIONS [raw]                               opens connections, prints "open", waits for stdin's end
//
// `raw`: bytes without any WebSocket. What a server sends is counted, not read.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32          // connections that are opened at once; less than any server's backlog
#define PER_ADDRESS 10000 // connections from one of our addresses, which has some 28,000 ports
#define WARM_UP 0.2       // of the time that is measured

static const char REQUEST[] =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nOrigin: http://127.0.0.1\r\n"
    "Accept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\nCache-Control: no-cache\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n";

static int port, raw;
static clockid_t cpu_clock;

static void die(const char *what) {
  errno ? perror(what) : (void)fprintf(stderr, "%s\n", what);
  exit(1);
}

static double read_clock(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t)) die("clock");
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double now(void) { return read_clock(CLOCK_MONOTONIC); }

typedef struct {
  double time, cpu;
  uint64_t count;
} Mark;

static Mark mark(uint64_t count) { return (Mark){now(), read_clock(cpu_clock), count}; }

static int report(Mark begin, Mark end) {
  if (end.count == begin.count) {
    fputs("not one message came back\n", stderr);
    return 1;
  }
  printf("%llu %.6f %.6f\n", (unsigned long long)(end.count - begin.count), end.time - begin.time,
         end.cpu - begin.cpu);
  return 0;
}

static void put(int fd, const char *bytes, size_t size) {
  while (size) {
    ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0) die("send");
    bytes += sent;
    size -= sent;
  }
}

static int dial(int index) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)}, from = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (fd < 0) die("socket");
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index / PER_ADDRESS);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  if (bind(fd, (void *)&from, sizeof from)) die("bind");
  if (connect(fd, (void *)&to, sizeof to)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  put(fd, raw ? "a" : REQUEST, raw ? 1 : sizeof REQUEST - 1);
  return fd;
}

// Reads the answer to the request and not a byte more.
static void read_answer(int fd) {
  char answer[8192];
  size_t size = 0;
  do {
    if (size == sizeof answer || read(fd, answer + size, 1) != 1) die("no answer to the handshake");
    size++;
    if (raw) return;
  } while (size < 4 || memcmp(answer + size - 4, "\r\n\r\n", 4));
  if (memcmp(answer, "HTTP/1.1 101 ", 13)) {
    fprintf(stderr, "refused: %.*s\n", (int)size, answer);
    exit(1);
  }
}

static void open_connections(int *fds, int count) {
  for (int first = 0; first < count; first += BATCH) {
    int end = first + BATCH < count ? first + BATCH : count;
    for (int i = first; i < end; i++) fds[i] = dial(i);
    for (int i = first; i < end; i++) read_answer(fds[i]);
  }
}

static size_t header_size(size_t size) { return size < 126 ? 2 : size < 65536 ? 4 : 10; }

// A masked binary message, `copies` times; RFC 6455 §5.2.
static char *make_burst(size_t size, int copies, size_t *length) {
  size_t head = header_size(size);
  *length = raw ? size : head + 4 + size;
  char *burst = malloc(copies * *length);
  for (int copy = 0; copy < copies; copy++) {
    unsigned char *frame = (unsigned char *)burst + copy * *length;
    if (raw) {
      memset(frame, 'a', size);
      continue;
    }
    frame[0] = 0x82;
    frame[1] = 0x80 | (head == 2 ? size : head == 4 ? 126 : 127);
    for (size_t i = 2; i < head; i++) frame[i] = (uint64_t)size >> 8 * (head - 1 - i);
    memset(frame + head, 0x11, 4);
    memset(frame + head + 4, 'a' ^ 0x11, size);
  }
  *length *= copies;
  return burst;
}

// Every connection, or with `broadcast` one of them, sends a burst; what has come back entirely is followed by the next.
static int exchange(int count, size_t size, int flight, double seconds, int broadcast) {
  static char in[1 << 20];
  int *fds = calloc(count, sizeof *fds), poll = epoll_create1(0);
  size_t *got = calloc(count, sizeof *got), length, shares = broadcast ? count : 1;
  char *burst = make_burst(size, flight, &length);
  size_t reply = (raw ? size : header_size(size) + size) * flight * shares;
  struct epoll_event events[256];
  open_connections(fds, count);
  for (int i = 0; i < count; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(poll, EPOLL_CTL_ADD, fds[i], &event);
  }
  for (int i = 0; i < (broadcast ? 1 : count); i++) put(fds[i], burst, length);
  // What is measured are whole turns, of an answer to each connection: some servers read from all, and then answer all.
  uint64_t messages = 0, turn = (uint64_t)count * flight, turns = 0;
  Mark begin = {0};
  double until = now() + WARM_UP * seconds;
  for (;;) {
    if (messages / turn > turns && now() >= until) {
      if (begin.time) break;
      begin = mark(messages);
      until = begin.time + seconds;
    }
    turns = messages / turn;
    int ready = epoll_wait(poll, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      int from = events[i].data.u32, to = broadcast ? 0 : from;
      ssize_t size_read = read(fds[from], in, sizeof in);
      if (size_read <= 0) die("the server closed the connection");
      for (got[to] += size_read; got[to] >= reply; got[to] -= reply) {
        messages += flight * shares;
        put(fds[to], burst, length);
      }
    }
  }
  return report(begin, mark(messages));
}

static int shake_hands(double seconds) {
  int fds[BATCH];
  struct linger cut = {1, 0};
  uint64_t count = 0;
  Mark begin = {0};
  double start = now(), warm = start + WARM_UP * seconds, end = warm + seconds, time;
  while ((time = now()) < end) {
    if (!begin.time && time >= warm) begin = mark(count);
    open_connections(fds, BATCH);
    count += BATCH;
    for (int i = 0; i < BATCH; i++) {
      setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &cut, sizeof cut);
      close(fds[i]);
    }
  }
  return report(begin, mark(count));
}

static int hold(int count) {
  int *fds = calloc(count, sizeof *fds);
  char byte;
  open_connections(fds, count);
  puts("open");
  fflush(stdout);
  while (read(0, &byte, 1) > 0) continue;
  return 0;
}

int main(int argc, char **argv) {
  raw = !strcmp(argv[argc - 1], "raw");
  argc -= raw;
  if (argc < 4) return fputs("usage: see the head of load.c\n", stderr), 2;
  port = atoi(argv[2]);
  if (argc == 4) return hold(atoi(argv[3]));
  if (clock_getcpuclockid(atoi(argv[3]), &cpu_clock)) die("no such process");
  if (argc == 5) return shake_hands(atof(argv[4]));
  if (argc == 7) return exchange(atoi(argv[4]), atol(argv[5]), 1, atof(argv[6]), 1);
  return exchange(atoi(argv[4]), atol(argv[5]), atoi(argv[6]), atof(argv[7]), 0);
}
