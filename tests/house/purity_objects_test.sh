#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What purity_test.sh reads in the sources, this one reads in the objects: the core's archive imports
# nothing from the operating system but memory.
source "$(dirname "$0")/lint.bash"

imports='pthread_.*|clock_gettime|clock_getres|gettimeofday|time|clock|nanosleep|clock_nanosleep|usleep|sleep|timerfd_.*|socket|socketpair|bind|connect|listen|accept4?|send|sendto|sendmsg|recv|recvfrom|recvmsg|poll|ppoll|select|epoll_.*|rand|srand|rand_r|random|srandom|drand48|getrandom|getentropy|arc4random.*|getenv|secure_getenv|open|open64|openat|creat|fopen|fopen64|fdopen|fread|fwrite|fclose|read|write|pread|pwrite|pread64|pwrite64|fsync|fdatasync|mmap|mmap64|munmap|msync|mremap|syscall|printf|fprintf|vprintf|vfprintf|puts|putchar|fputs|perror|__printf_chk|__fprintf_chk|fork|vfork|exec.*|sched_.*|sem_.*|signal|sigaction|exit|_exit|quick_exit|system|tls_get_new|std::thread::.*|std::this_thread::.*|std::condition_variable::.*|std::_V2::condition_variable.*|std::mutex::.*|std::random_device::.*|std::chrono::.*|std::filesystem::.*|std::basic_[io]?fstream.*|std::cout|std::cerr|std::clog|std::cin|std::ostream::.*|std::basic_ostream.*'

# check reads core.nm: what `nm -A -u -C` says about an archive.
check() {
  local object symbol
  sed -nE 's/^[^:]*:([^:]*): +[UvVwW] (.*)$/\1\t\2/p' core.nm |
    while IFS=$'\t' read -r object symbol; do
      symbol=${symbol%%@*}
      symbol=${symbol%%(*}
      # Generated messages are protobuf's own affair.
      case $object in *.pb.cc.o) continue ;; esac
      if grep -qxE "$imports" <<<"$symbol"; then
        echo "$object: imports $symbol: the core takes time, messages and memory from its caller"
      fi
    done
}

archive=$CAISSON_BUILD_DIR/core/libcaisson_core.a
members=$(ar t "$archive" | wc -l)
if [[ $members -lt 3 ]]; then
  echo "$archive holds $members objects: it cannot be the core"
  exit 1
fi
nm -A -u -C "$archive" | sort -u -t: -k2 | sample core.nm
echo "$members objects"
passed

compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$CAISSON_BUILD_DIR/CMakeCache.txt")
bad=$(mktemp -d)
bad_object() {  # bad_object EXPECTED-SYMBOL <<< SOURCE
  cat >"$bad/bad.cpp"
  "$compiler" -std=c++20 -O1 -c "$bad/bad.cpp" -o "$bad/bad.o"
  rm -f "$bad/libbad.a"
  ar rc "$bad/libbad.a" "$bad/bad.o"
  nm -A -u -C "$bad/libbad.a" | sample core.nm
  caught "^bad.o: imports $1"
}
bad_object clock_gettime <<<'#include <ctime>
long f() { timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_nsec; }'
bad_object pthread_mutex_lock <<<'#include <pthread.h>
void f(pthread_mutex_t* m) { pthread_mutex_lock(m); }'
bad_object 'std::chrono::' <<<'#include <chrono>
long f() { return std::chrono::steady_clock::now().time_since_epoch().count(); }'
bad_object 'std::random_device' <<<'#include <random>
unsigned f() { std::random_device d; return d(); }'
bad_object getenv <<<'#include <cstdlib>
char* f() { return std::getenv("HOME"); }'
bad_object socket <<<'#include <sys/socket.h>
int f() { return socket(AF_INET, SOCK_STREAM, 0); }'
bad_object '(puts|printf)' <<<'#include <cstdio>
void f() { std::printf("x\n"); }'
rm -rf "$bad"
finish
