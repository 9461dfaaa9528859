// SPDX-License-Identifier: BSD-3-Clause
// view_change.pml taking only the steps of a given trace, each with what is known of it, in its order;
// tests/model/trace checks many traces with one program. A step is what it is, who takes it, and up to
// three arguments (docs/simulation.md has the table). What cannot be the next step is not taken: a trace is
// accepted if its end is reached, and its last elements say what the replicas hold there.
#define TRACE
#define LATE  // a completion may be read when its target has been sealed by another
#define CRASH
#define LOSS
#define VALUES
#define AS_BUILT
#define N 5
#define P 40
#define T 6

#define TAKE 1
#define SEAL 2
#define LEAD 3
#define ADOPT 4
#define ATTACH 5
#define WRITE 6
#define APPEND 7
#define COUNTED 8
#define LEARN 9
#define HINT 10
#define RESTART 11
#define LOSE 12
#define LOG 13
#define TAIL 14
#define PROMISED 15
#define MARK 16

byte voters0, voters1, voters2, from2;
#define V0 voters0
#define V1 voters1
#define V2 voters2
#define FROM2 from2

short day, element;                // which trace, and which element of it is next
byte what, who, arg1, arg2, arg3;  // that element; what == 0: none, or it cannot be taken

c_decl {
\#include "trace.h"
}

#define STEP(w, x, y) (what == w && who == me && arg1 == (x) && arg2 == (y))
#define MUST(holds)        \
  if                       \
  :: (holds) -> skip       \
  :: else -> what = 0      \
  fi;
#define TAKEN ; next_element()
#define BREACH c_code { trace_breach(now.day, now.broken); } ; what = 0
// Whose answers had arrived; some of them were enough, with the best log that ends so.
#define ADOPTS ((what == LEAD || what == ADOPT) && who == me)
#define HEARD(r) IN(r, arg1)
#define LAST(r) (TERM(log[r].e[tail[r]]) == arg3)
#define STOPS (what == ADOPT)
#define MORE (tail[me] < arg2)
#define ENOUGH tail[me] == arg2 ->
#define LATEST arg1
#define LEARNT(r) (arg2 <= mark[me] && arg2 <= tail[r] -> arg2 : P + 1)
#define LOST_ONE (1)
#define MORE_VALUES (1)

inline next_element() {
  if
  :: what != 0 -> c_code {
       const struct Element* next = trace_next(now.day, ++now.element);
       now.what = next->what;
       now.who = next->who;
       now.arg1 = next->argument[0];
       now.arg2 = next->argument[1];
       now.arg3 = next->argument[2];
     }
  :: else
  fi
}

#include "view_change.pml"

// An entry's header says what was committed when it was written: whoever takes the entry over knows, too.
// What it knows must have been committed by somebody, as it holds it itself.
inline learn_by_header() {
  d_step {
    what == HINT ->
    for (i : 1 .. P) {
      MUST(i > arg1 || chosen[i] != 0 && chosen[i] == log[who].e[i])
    }
    if
    :: mark[who] < arg1 -> mark[who] = arg1
    :: else
    fi
    TAKEN
  }
}

// Which trace, and then all that is no step of the model's: what replicas hold.
active proctype Trace() {
  atomic {
    c_code { trace_load(); };
    do
    :: c_expr { now.day + 1 < traces_count } -> day++
    :: break
    od;
    element = -1;
    what = 255;
    d_step { c_code {
      now.voters0 = traces[now.day].views[0];
      now.voters1 = traces[now.day].views[1];
      now.voters2 = traces[now.day].views[2];
      now.from2 = traces[now.day].views[3];
    }; next_element() }
  }
end:
  do
  :: learn_by_header()
  :: d_step { what == LOG && log[who].e[arg1] == ENTRY(arg2, arg3) -> next_element() }
  :: d_step { what == TAIL && tail[who] == arg1 -> next_element() }
  :: d_step { what == PROMISED && promised[who] == arg3 -> next_element() }
  :: d_step { what == MARK && mark[who] >= arg1 -> next_element() }
  od
}
