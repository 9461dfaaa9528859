#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The core is driven by poll(now) and by messages: under core/log, core/replication and core/control
# nothing names a thread, a lock, a clock, a socket, a file, a random source or a sleep.
source "$(dirname "$0")/lint.bash"

headers='thread|mutex|shared_mutex|condition_variable|future|chrono|random|fstream|iostream|ostream|istream|sstream|filesystem|semaphore|latch|barrier|stop_token|cstdio|stdio\.h|ctime|time\.h|pthread\.h|unistd\.h|fcntl\.h|signal\.h|csignal|semaphore\.h|poll\.h|netdb\.h|sched\.h|x86intrin\.h|sys/[a-z]+\.h|linux/[a-z_]+\.h|netinet/[a-z]+\.h|arpa/[a-z]+\.h|asio[a-z/_.]*|openssl/[a-z]+\.h|spdlog/[a-z/_.]+'
standard='thread|jthread|this_thread|(recursive_|timed_|shared_)*mutex|scoped_lock|lock_guard|unique_lock|shared_lock|condition_variable(_any)?|future|promise|async|call_once|once_flag|counting_semaphore|binary_semaphore|latch|barrier|chrono|random_device|mt19937(_64)?|default_random_engine|filesystem|[io]?fstream|cout|cerr|clog|cin|getenv|rand|srand|time|clock'
words='thread_local|(__)?rdtscp?|_rdrand(16|32|64)_step|_rdseed(16|32|64)_step|random_device|asio::|spdlog::'
calls='pthread_[a-z_]+|clock_gettime|clock_getres|gettimeofday|timerfd_[a-z]+|nanosleep|clock_nanosleep|usleep|sleep|socket|socketpair|epoll_[a-z]+|rand|srand|rand_r|getrandom|getentropy|getenv|secure_getenv|fopen|fdopen|fread|fwrite|fclose|fsync|mmap|munmap|msync|syscall|printf|fprintf|puts|fputs|perror|fork|vfork|execve|sched_[a-z]+|sem_[a-z]+|futex|sigaction|exit|_exit|quick_exit'
pattern="^[[:space:]]*#[[:space:]]*include[[:space:]]*<($headers)>|\\bstd::($standard)\\b|\\b($words)|(^|[^A-Za-z0-9_.>])($calls)[[:space:]]*\\("

check() {
  local path
  while IFS= read -r path; do
    without_comments "$path" | grep -nE "$pattern" |
      sed "s|^|$path:|; s|$|: the core owns no thread, lock, clock, socket, file or random source|"
  done < <(files '^core/(log|replication|control)/.*\.(cpp|hpp|h|cc|c)$')
  return 0
}

clean
while IFS= read -r line; do
  sample core/control/a.cpp <<<"$line"
  caught '^core/control/a.cpp:1:'
done <<'E2'
#include <thread>
#include <chrono>
#include <sys/socket.h>
#include <asio/steady_timer.hpp>
std::thread worker;
std::jthread worker;
std::mutex guard;
std::shared_mutex guard;
std::condition_variable ready;
auto now = std::chrono::steady_clock::now();
std::random_device seed;
static thread_local int depth = 0;
pthread_mutex_lock(&guard);
  clock_gettime(CLOCK_MONOTONIC, &now);
if (::gettimeofday(&now, nullptr) == 0) {
const uint64_t tsc = __rdtsc();
int n = rand();
int fd = socket(AF_INET, SOCK_STREAM, 0);
usleep(10);
const char* home = std::getenv("HOME");
FILE* file = fopen(path, "r");
printf("%d", n);
exit(1);
spdlog::info("appended");
E2
sample core/log/a.hpp <<<'std::mutex guard;'
caught '^core/log/a.hpp:1:'
sample core/replication/a.cpp <<<'std::mutex guard;'
caught '^core/replication/a.cpp:1:'
sample core/engine/a.cpp <<<'std::mutex guard;'
passed
sample core/control/a.cpp <<'E2'
// No std::thread here; the caller's clock_gettime(…) gives `now`.
outbox.send(peer, message);
poll(now);
void connect_to(ReplicaId peer);
const char* what = "socket(2) failed";
/* std::mutex
   std::thread */
timer.sleep(3);
E2
passed
finish
