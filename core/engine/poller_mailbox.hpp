// SPDX-License-Identifier: BSD-3-Clause
// What other threads ask of a poller, off the hot path: a lock-free list of jobs. Looking for one
// costs the poller a single load.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/engine/engine_wait.hpp"

namespace caisson::engine {

// A job. Runs on the poller's thread, once.
class Mail {
 public:
  virtual ~Mail() = default;
  virtual void run(uint64_t now_ns) = 0;

 private:
  friend class Mailbox;
  Mail* next_ = nullptr;
};

// Any number of senders, one receiver.
class Mailbox {
 public:
  Mailbox() = default;
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  ~Mailbox() {
    for (Mail* mail = top_.load(std::memory_order_acquire); mail != nullptr && mail != closed();) {
      delete std::exchange(mail, mail->next_);
    }
  }

  // False: closed; the job was not taken, and will not run.
  bool post(std::unique_ptr<Mail> mail) {
    Mail* top = top_.load(std::memory_order_relaxed);
    do {
      if (top == closed()) return false;
      mail->next_ = top;
    } while (!top_.compare_exchange_weak(top, mail.get(), std::memory_order_seq_cst,
                                         std::memory_order_relaxed));
    mail.release();
    bed_.wake();
    return true;
  }

  template <class Function>
  bool post_function(Function function) {
    return post(std::make_unique<FunctionMail<Function>>(std::move(function)));
  }

  bool pending() const { return top_.load(std::memory_order_relaxed) != nullptr; }

  // Receiver: sleeps until something is posted, somebody wakes it, or `ns` have passed.
  void sleep(uint64_t ns) {
    bed_.sleep(ns, [this] { return top_.load(std::memory_order_seq_cst) == nullptr; });
  }
  // Anybody: ends a sleep, where one is seen. A sleep that is just beginning may be missed.
  void hint() { bed_.wake(); }

  // Receiver: runs what was posted, in the order of posting. Returns how many.
  uint32_t run(uint64_t now_ns) {
    if (top_.load(std::memory_order_relaxed) == closed()) return 0;  // only the receiver closes
    return run_list(top_.exchange(nullptr, std::memory_order_acquire), now_ns);
  }

  // Receiver: runs what was posted and takes nothing more.
  void close_and_run(uint64_t now_ns) {
    run_list(top_.exchange(closed(), std::memory_order_acquire), now_ns);
  }

 private:
  template <class Function>
  class FunctionMail final : public Mail {
   public:
    explicit FunctionMail(Function function) : function_(std::move(function)) {}
    void run(uint64_t now_ns) override { function_(now_ns); }

   private:
    Function function_;
  };

  Mail* closed() { return &closed_; }

  uint32_t run_list(Mail* top, uint64_t now_ns) {
    if (top == closed()) return 0;
    Mail* first = nullptr;
    while (top != nullptr) {
      Mail* const below = top->next_;
      top->next_ = first;
      first = top;
      top = below;
    }
    uint32_t count = 0;
    while (first != nullptr) {
      const std::unique_ptr<Mail> mail(first);
      first = first->next_;
      mail->run(now_ns);
      ++count;
    }
    return count;
  }

  class Closed final : public Mail {
    void run(uint64_t) override {}
  };
  Closed closed_;  // its address marks a closed box
  Bed bed_;
  std::atomic<Mail*> top_{nullptr};
};

}  // namespace caisson::engine
