// The least that an echo server can cost, and the server that clients are measured with: one thread, epoll, C.
//
//   echo PORT [raw]
//
// It answers bytes as they come, so it never waits for the end of a message, and it checks nothing: a yardstick, not a
// server. A close frame is echoed, too; that ends the connection. `raw`: bytes without any WebSocket.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 262144
#define MAX_HEAD 1024

typedef struct {
  int fd, is_open, is_over; // is_open: the handshake is done; is_over: a close frame was seen
  uint64_t left, mask;      // of the frame at hand: bytes that are missing, and the mask, twice
  size_t have;              // bytes in `head`
  unsigned char head[MAX_HEAD]; // a request or a frame header that isn't complete yet
} Connection;

static unsigned char in[CHUNK + MAX_HEAD], out[CHUNK + MAX_HEAD];

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

// SHA-1 of a text of 60 bytes, the only length that is needed: FIPS 180-4 §6.1.
static void sha1_of_60(const char *text, unsigned char *digest) {
  unsigned char block[128] = {0};
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}, w[80];
  memcpy(block, text, 60);
  block[60] = 0x80;
  block[126] = 60 * 8 >> 8, block[127] = 60 * 8 & 255;
  for (int part = 0; part < 2; part++) {
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) {
      const unsigned char *p = block + 64 * part + 4 * i;
      w[i] = i < 16 ? (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]
                    : rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
      uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                   : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                   : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                            : (b ^ c ^ d) + 0xca62c1d6;
      uint32_t next = rotate(a, 5) + f + e + w[i];
      e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
  }
  for (int i = 0; i < 20; i++) digest[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

// The value of Sec-WebSocket-Accept, RFC 6455 §4.2.2.
static void accept_value(const char *key, char *value) {
  static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char text[61];
  unsigned char digest[21] = {0};
  snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  sha1_of_60(text, digest);
  for (int i = 0; i < 7; i++) {
    uint32_t three = digest[3 * i] << 16 | digest[3 * i + 1] << 8 | digest[3 * i + 2];
    for (int j = 0; j < 4; j++) *value++ = ALPHABET[three >> (18 - 6 * j) & 63];
  }
  strcpy(value - 1, "=");
}

static void put(int fd, const void *bytes, size_t size) {
  const char *next = bytes;
  while (size) {
    ssize_t sent = send(fd, next, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return;
    if (sent > 0) next += sent, size -= sent;
  }
}

// Keeps what there is of the request in in[0..size), and answers it once it is complete.
static void shake_hands(Connection *c, size_t size) {
  static const char NAME[] = "Sec-WebSocket-Key:";
  char answer[256], value[32], *key;
  if (size >= MAX_HEAD) exit(1);
  in[size] = 0;
  c->have = size;
  memcpy(c->head, in, size);
  if (size < 4 || memcmp(in + size - 4, "\r\n\r\n", 4)) return;
  if (!(key = strcasestr((char *)in, NAME))) exit(1);
  key += sizeof NAME - 1;
  accept_value(key + strspn(key, " "), value);
  c->have = 0;
  c->is_open = 1;
  put(c->fd, answer, snprintf(answer, sizeof answer,
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
      value));
}

// Unmasks what `from` has of the frame at hand.
static size_t unmask(Connection *c, const unsigned char *from, size_t size, unsigned char *to) {
  size_t count = size < c->left ? size : c->left, i = 0;
  for (; i + 8 <= count; i += 8) {
    uint64_t word;
    memcpy(&word, from + i, 8);
    word ^= c->mask;
    memcpy(to + i, &word, 8);
  }
  for (int j = 0; i < count; i++, j++) to[i] = from[i] ^ (c->mask >> 8 * j);
  int by = 8 * (count & 3);
  if (by) c->mask = c->mask >> by | c->mask << (64 - by);
  c->left -= count;
  return count;
}

// Turns in[0..size) into unmasked frames in `out`; a header that isn't complete is kept. RFC 6455 §5.2.
static size_t answer_frames(Connection *c, size_t size) {
  size_t i = 0, made = 0;
  for (;;) {
    size_t count = unmask(c, in + i, size - i, out + made);
    i += count, made += count;
    if (c->left || size - i < 2) break;
    unsigned char *p = in + i;
    int code = p[1] & 127;
    size_t head = code == 126 ? 4 : code == 127 ? 10 : 2;
    if (size - i < head + 4) break;
    c->left = head == 2 ? code : 0;
    for (size_t j = 2; j < head; j++) c->left = c->left << 8 | p[j];
    uint32_t mask;
    memcpy(&mask, p + head, 4);
    c->mask = (uint64_t)mask << 32 | mask;
    c->is_over |= (p[0] & 15) == 8;
    memcpy(out + made, p, head);
    out[made + 1] &= 127;
    i += head + 4, made += head;
  }
  c->have = size - i;
  memcpy(c->head, in + i, c->have);
  return made;
}

static void end(Connection *c) {
  close(c->fd);
  free(c);
}

static void serve(Connection *c, int raw) {
  memcpy(in, c->head, c->have);
  ssize_t got = recv(c->fd, in + c->have, CHUNK - c->have, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return end(c);
  if (raw) return put(c->fd, in, got);
  if (!c->is_open) return shake_hands(c, c->have + got);
  put(c->fd, out, answer_frames(c, c->have + got));
  if (c->is_over && !c->left) end(c);
}

int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0), one = 1;
  struct epoll_event event = {.events = EPOLLIN}, events[256];
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) return perror("listen"), 1;
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(poll, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.ptr) {
        serve(events[i].data.ptr, argc > 2);
        continue;
      }
      for (int fd; (fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        event.data.ptr = c;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
      }
    }
  }
}
