// SPDX-License-Identifier: BSD-3-Clause
// How a log changes its voters, under changes of leaders (P1, P3, P4, P14, P18, P23, R25, H2a, H6).
//
// V0 are the first voters; a joint entry J (V0 and V1) and then a final one F (V1) replace them, and with
// V2 another pair does, out of FROM2. A view governs from its entry's append, and an election needs a
// quorum of one view alone: the latest in the log that would be adopted (P18). A leader appends a view
// entry only when the view before it and its own term start are committed. Replicas are bits: A is 1,
// B 2, C 4, D 8, E 16. tests/model/run has the bounds, and a mutant for each rule.
//
// ALSO_COMMITTED is a stricter election that was not taken: it also needs a quorum of the last view known
// to be committed. It protects nothing more, and while few know of F's commit it needs replicas that F
// dismissed, who may be destroyed by then (I7).
//
// What is smaller here than in the engine, and why nothing is missed:
// - A replica's answer is its log as it stands while it still promises that term. It cannot change before
//   that, since only its sealer may write; an answer that is outdated when the candidate counts could have
//   been counted earlier with the same result.
// - A message that is late or lost is a step not taken. Any part of those who promised may have answered.
// - The leader counts what it holds under a grant that stands at that moment. A completion that it reads
//   later could have been read earlier; with LATE it may.
// - Seal, cut and grant of a repair are one step: between them only a higher seal can come, and the grant
//   is bound to its answer (P23). Writes land entry by entry, adoption may stop after any entry.
// - A process that is down takes no steps while its memory takes writes. CRASH adds what its restart does.
// - LOSS destroys C at any time. Promise, log and commit mark persist.
// - AS_BUILT: what the engine does beyond, as traces of it have shown; nothing depends on it. A leader
//   attaches who joins before it serves; J comes whatever who joins has by then; who is dismissed may be a
//   candidate until it has read so, though it never leads.
// - AT_ONCE: everybody attached learns a commit mark as soon as it moves. A higher mark only allows more,
//   so this hides no violation of I1..I6. Runs without it are here, too.
// - ALIKE: A and B play the same part in every view, so whichever is candidate first is called A.
//
// I1 nobody commits different entries at one position. I2 whoever leads has everything chosen so far.
// I3 the views committed are one sequence, J then F. I4 one leader a term. I5 only replicas sealed in the
// leader's term are counted. I6 what a replica knows to be committed is never cut off. I7 (RELEASE) once
// the replaced ones may be destroyed, any majority of the rest can elect a leader.

// What trace.pml, which takes only the steps of given traces, has instead; otherwise every step is free.
#ifndef TRACE
#define STEP(what, x, y) 1
#define MUST(holds)
#define TAKEN
#define BREACH assert(broken != invariant)
#define ADOPTS 1
#define HEARD(r) 1
#define LAST(r) 1
#define STOPS 1
#define MORE 1
#define ENOUGH
#define LATEST tail[me]
#define LEARNT(r) (mark[me] < tail[r] -> mark[me] : tail[r])
#define LOST_ONE (me == 2)
#define MORE_VALUES KIND(log[me].e[tail[me]]) != VALUE
#endif

#ifndef N
#define N 4
#endif
#ifndef P  // positions
#define P 4
#endif
#ifndef T  // terms
#define T 3
#endif
#ifndef COPIES  // that commit; 0: a majority
#define COPIES 0
#endif
#ifndef V0
#define V0 7
#endif
#ifndef V1
#define V1 11
#endif
#ifndef V2
#define V2 0
#define FROM2 0
#endif

// An entry is kind and term: with its position that is its identity (P14).
#define START 1
#define VALUE 2
#define JOINT1 3
#define FINAL1 4
#define JOINT2 5
#define FINAL2 6
#define ENTRY(kind, term) ((kind) * 8 + (term))
#define TERM(e) ((e) & 7)
#define KIND(e) ((e) >> 3)
#define IS_VIEW(e) ((e) >= 24)
#define IS_JOINT(k) ((k) == JOINT1 || (k) == JOINT2)

#define VOTERS(k) ((k) == JOINT1 || (k) == FINAL1 -> V1 : ((k) == JOINT2 || (k) == FINAL2 -> V2 : V0))
#define OUTGOING(k) ((k) == JOINT1 -> V0 : ((k) == JOINT2 -> FROM2 : 0))
#define MEMBERS(k) (VOTERS(k) | OUTGOING(k))
#define IN(r, set) (((set) >> (r)) & 1)
#define COUNT(set) (IN(0, set) + IN(1, set) + IN(2, set) + IN(3, set) + IN(4, set))
// R17: so many of n voters commit, and so many elect.
#define COMMIT_COUNT(n) (COPIES == 0 -> (n) / 2 + 1 : (COPIES < (n) -> COPIES : (n)))
#ifdef MUTANT_FEW_ELECT
#define ELECT_COUNT(n) COMMIT_COUNT(n)
#else
#define ELECT_COUNT(n) (COPIES == 0 -> (n) / 2 + 1 : (n) - COMMIT_COUNT(n) + 1)
#endif
#define COMMIT(voters, set) (COUNT((voters) & (set)) >= COMMIT_COUNT(COUNT(voters)))
#define ELECT(voters, set) (COUNT((voters) & (set)) >= ELECT_COUNT(COUNT(voters)))
#define COMMITS(k, set) \
  (COMMIT(VOTERS(k), set) && (OUTGOING(k) == 0 || COMMIT(OUTGOING(k), set)))
#define ELECTS(k, set) (ELECT(VOTERS(k), set) && (OUTGOING(k) == 0 || ELECT(OUTGOING(k), set)))

#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2
#define LOST (T + 1)  // a promise above every term: it answers nothing

typedef Log { byte e[P + 1] }  // e[1] .. e[tail]
Log log[N];
byte tail[N];
byte promised[N];
byte grant[N];  // the term that may write here; 0: closed
byte mark[N];   // the commit mark it knows
byte role[N];   // in the term it promised
byte view[N];   // kind of the view entry that governs it; 0: V0
byte at[N];     // the position of that entry
byte taken;     // terms, a bit each

#ifdef LATE
typedef Peers { byte through[N] }
Peers acked[N];  // what a leader knows its targets took
#define TOOK(l, r) acked[l].through[r] = tail[r]
#define FORGET(l) for (i : 0 .. N - 1) { acked[l].through[i] = 0 }
#define HAS(r, p) (acked[me].through[r] >= p)
#else
#define TOOK(l, r) skip
#define FORGET(l) skip
#define HAS(r, p) (grant[r] == promised[me] && tail[r] >= p)
#endif

byte chosen[P + 1];  // what any leader has regarded as committed
byte chosen_tail;

byte broken;
byte answers, best;  // of the election step under way
hidden byte i, j, k, m, p, h, ok;

inline require(invariant, holds) {
  if
  :: holds -> skip
  :: else -> broken = invariant; BREACH
  fi
}

// What follows a change of r's log.
inline look(r) {
  view[r] = 0;
  at[r] = 0;
  for (i : 1 .. P) {
    if
#ifdef MUTANT_COMMITTED_VIEW
    :: IS_VIEW(log[r].e[i]) && i <= mark[r] -> view[r] = KIND(log[r].e[i]); at[r] = i
#else
    :: IS_VIEW(log[r].e[i]) -> view[r] = KIND(log[r].e[i]); at[r] = i
#endif
    :: else
    fi
  }
}

// p: the last position that two logs have in common.
inline last_common(a, b) {
  p = 0;
  do
  :: p < P && log[a].e[p + 1] != 0 && log[a].e[p + 1] == log[b].e[p + 1] -> p++
  :: else -> break
  od
}

inline copy(to, from, n) {
  for (i : 1 .. P) {
    if
    :: i <= n -> log[to].e[i] = log[from].e[i]
    :: else -> log[to].e[i] = 0
    fi
  }
  tail[to] = n;
  look(to)
}

// Elections

#ifdef ALIKE
#define FIRST(r) (taken != 0 || (r) != 1)
#else
#define FIRST(r) (1)
#endif

#ifdef AS_BUILT
#define MAY_STAND(k) (MEMBERS(k) | OUTGOING(k - 1))
#else
#define MAY_STAND(k) MEMBERS(k)
#endif

// A candidate knows the first voters, and a joiner from a view entry in an answer.
#define NAMES(q) (promised[q] == promised[me] && view[q] != 0)
#if N == 3
#define KNOWN(r) (IN(r, V0) || NAMES(0) || NAMES(1) || NAMES(2))
#elif N == 4
#define KNOWN(r) (IN(r, V0) || NAMES(0) || NAMES(1) || NAMES(2) || NAMES(3))
#else
#define KNOWN(r) (IN(r, V0) || NAMES(0) || NAMES(1) || NAMES(2) || NAMES(3) || NAMES(4))
#endif

inline take_term(t) {
  d_step {
    t <= T && t > promised[me] && IN(t, taken) == 0 && FIRST(me) && IN(me, MAY_STAND(view[me])) &&
        STEP(TAKE, t, 0) ->
    taken = taken | (1 << t);
    promised[me] = t;
    grant[me] = 0;
    role[me] = CANDIDATE;
    FORGET(me);
    printf("%c: candidate of term %d\n", 65 + me, t)
    TAKEN
  }
}

inline seal(r) {
  d_step {
    role[me] == CANDIDATE && promised[r] < promised[me] && KNOWN(r) && STEP(SEAL, r, tail[r]) ->
    promised[r] = promised[me];
    grant[r] = 0;
    role[r] = FOLLOWER;  // P1
    FORGET(r);
    printf("%c: sealed by %c in term %d\n", 65 + r, 65 + me, promised[me])
    TAKEN
  }
}

inline may_have_answered(r) {
  if
  :: r != me && promised[r] == promised[me] && HEARD(r) -> answers = answers | (1 << r)
  :: true
  fi
}

// ok: whether the answers suffice, and m: the greatest commit mark among them. best starts as one of them.
inline judge() {
  m = 0;
  for (i : 0 .. N - 1) {
    if
    :: IN(i, answers) ->
       if
       :: mark[i] > m -> m = mark[i]
       :: else
       fi;
       if
       :: TERM(log[i].e[tail[i]]) > TERM(log[best].e[tail[best]]) ||
          TERM(log[i].e[tail[i]]) == TERM(log[best].e[tail[best]]) && tail[i] > tail[best] -> best = i
       :: else
       fi
    :: else
    fi
  }
  ok = 1;
  k = 0;
#if defined(ALSO_COMMITTED) || defined(MUTANT_COMMITTED_VIEW)
  for (i : 1 .. P) {
    if
#ifdef MUTANT_COMMITTED_VIEW
    :: IS_VIEW(log[best].e[i]) && i <= m -> k = KIND(log[best].e[i])
#else
    :: IS_VIEW(log[best].e[i]) ->
       // The view before this entry is required, too, unless the entry is known to be committed.
       ok = ok && (i <= m || ELECTS(k, answers));
       k = KIND(log[best].e[i])
#endif
    :: else
    fi
  }
#else
  k = view[best];  // P18
#endif
#ifdef MUTANT_OWN_VIEW
  ok = 1;
  k = view[me];
#endif
  ok = ok && ELECTS(k, answers)
}

inline lead() {
  copy(me, best, tail[best]);
  role[me] = LEADER;
  require(6, tail[me] >= mark[me]);
  for (i : 0 .. N - 1) {
    require(4, i == me || role[i] != LEADER || promised[i] != promised[me])
  }
  for (i : 1 .. P) {
    require(2, chosen[i] == 0 || chosen[i] == log[me].e[i])
  }
  printf("%c: leads term %d with the log of %c, answers %d\n", 65 + me, promised[me], 65 + best, answers)
  TAKEN
}

// Counting

#ifdef MUTANT_NO_TERM_START
#define COUNTS(p) (1)
#else
#define COUNTS(p) (TERM(log[me].e[p]) == promised[me])  // H6: at its term start or behind
#endif
#define SERVES (mark[me] > 0 && TERM(log[me].e[mark[me]]) == promised[me])

// h: who holds everything through p.
inline holders(p) {
  h = 0;
  for (i : 0 .. N - 1) {
    if
    :: i == me || HAS(i, p) -> h = h | (1 << i)
    :: else
    fi
  }
}

inline committed_through(p) {
  k = 0;
  for (i : 1 .. P) {
    require(1, i > p || chosen[i] == 0 || chosen[i] == log[me].e[i]);
    if
    :: i <= p -> chosen[i] = log[me].e[i]
    :: else
    fi;
#ifndef LATE
    require(2, chosen[i] == 0 || chosen[i] == log[me].e[i]);
#endif
#if !defined(MUTANT_SINGLE_STEP) && !defined(MUTANT_OVERLAP) && !defined(MUTANT_COMMITTED_VIEW)
    if
    :: IS_VIEW(chosen[i]) ->
       ok = (IS_JOINT(k) -> KIND(chosen[i]) == k + 1 : OUTGOING(KIND(chosen[i])) == VOTERS(k));
       require(3, ok);
       k = KIND(chosen[i])
    :: else
    fi
#endif
  }
#if !defined(MUTANT_NO_PROMISE) && !defined(LATE)
  for (i : 0 .. N - 1) {
    require(5, !IN(i, h) || promised[i] == promised[me])
  }
#endif
#if REACH == 1
  ok = me == 3 && chosen[2] == ENTRY(JOINT1, 1) && chosen[4] == ENTRY(FINAL1, 2) && TERM(chosen[5]) == 3;
  require(8, !ok);
#elif REACH == 2
  ok = chosen[4] == ENTRY(JOINT2, 1) && chosen[6] == ENTRY(FINAL2, 2);
  require(8, !ok);
#endif
  if
  :: p > chosen_tail -> chosen_tail = p
  :: else
  fi
}

inline count() {
  p = LATEST;
  ok = 0;
  do
  :: p > mark[me] && !ok ->
     holders(p);
     if
     :: COUNTS(p) && COMMITS(view[me], h) -> ok = 1
     :: else -> p--
     fi
  :: else -> break
  od;
  MUST(p == LATEST && p > mark[me])
  if
  :: p > mark[me] ->
     printf("%c: commits through %d, held by %d\n", 65 + me, p, h);
     committed_through(p);
     mark[me] = p;
     look(me)
  :: else
  fi
}

#define MAY_LEARN(r) \
  (r != me && grant[r] == promised[me] && mark[r] < mark[me] && mark[r] < tail[r])

inline learn(r) {
  d_step {
    role[me] == LEADER && MAY_LEARN(r) && STEP(LEARN, r, LEARNT(r)) ->
    mark[r] = LEARNT(r);
    look(r);
    printf("%c: knows of commit mark %d\n", 65 + r, mark[r])
    TAKEN
  }
}

inline tell() {
#ifdef AT_ONCE
  count();
  for (j : 0 .. N - 1) {
    if
    :: MAY_LEARN(j) ->
       mark[j] = (mark[me] < tail[j] -> mark[me] : tail[j]);
       look(j)
    :: else
    fi
  };
#endif
  skip
}

// Replication

#if defined(MUTANT_EARLY_CHANGE) || defined(AS_BUILT)
#define WANTED(r) (1)
#else
#define WANTED(r) (IN(r, MEMBERS(view[me])) || SERVES)
#endif
#ifdef MUTANT_NO_PROMISE
#define PROMISES(r) IN(r, V0)
#else
#define PROMISES(r) (1)
#endif

inline attach(r) {
  d_step {
    r != me && role[me] == LEADER && WANTED(r) &&
        (promised[r] < promised[me] || promised[r] == promised[me] && grant[r] != promised[me]) &&
        STEP(ATTACH, r, arg2) ->
    if
    :: PROMISES(r) -> promised[r] = promised[me]
    :: else
    fi;
    role[r] = FOLLOWER;
    FORGET(r);
    last_common(me, r);
    MUST(p == arg2)
    require(6, p >= mark[r]);
    copy(r, me, p);
    grant[r] = promised[me];
    TOOK(me, r);
    printf("%c: attached by %c, cut behind %d\n", 65 + r, 65 + me, p);
    tell()
    TAKEN
  }
}

inline write(r) {
  d_step {
    r != me && role[me] == LEADER && grant[r] == promised[me] && tail[r] < tail[me] &&
        STEP(WRITE, r, tail[r] + 1) ->
    tail[r]++;
    log[r].e[tail[r]] = log[me].e[tail[r]];
    look(r);
    TOOK(me, r);
    printf("%c: has position %d from %c\n", 65 + r, tail[r], 65 + me);
    tell()
    TAKEN
  }
}

#define MAY_APPEND (role[me] == LEADER && tail[me] < P)
#define STARTED (tail[me] > 0 && TERM(log[me].e[tail[me]]) == promised[me])
#define SETTLED (at[me] <= mark[me])

inline append(kind) {
  tail[me]++;
  log[me].e[tail[me]] = ENTRY(kind, promised[me]);
  look(me);
  printf("%c: appends %d at %d (1 start, 2 value, 3 J, 4 F, 5 J', 6 F')\n", 65 + me, kind, tail[me]);
  tell()
  TAKEN
}

#ifdef MUTANT_EARLY_CHANGE
#define MAY_CHANGE (SETTLED && !IS_JOINT(view[me]))
#define MAY_FINISH (SETTLED)
#elif defined(MUTANT_OVERLAP)
#define MAY_CHANGE (SERVES)
#define MAY_FINISH (SERVES && SETTLED)
#else
#define MAY_CHANGE (SERVES && SETTLED && !IS_JOINT(view[me]))
#ifdef MUTANT_HASTY_FINAL
#define MAY_FINISH (SERVES)
#else
#define MAY_FINISH (SERVES && SETTLED)
#endif
#endif
#ifdef MUTANT_SINGLE_STEP
#define FIRST_STEP 1
#else
#define FIRST_STEP 0
#endif

// Who joins is attached, and has all that the leader has.
#ifdef AS_BUILT
#define JOINS(r) (1)
#else
#define JOINS(r) HAS(r, tail[me])
#endif

inline joiners() {
  h = 0;
  for (i : 0 .. N - 1) {
    if
    :: i == me || JOINS(i) -> h = h | (1 << i)
    :: else
    fi
  }
}

inline change(from, to, joint) {
  d_step {
    MAY_APPEND && MAY_CHANGE && VOTERS(view[me]) == from && STEP(APPEND, joint, tail[me] + 1) ->
    joiners();
    MUST(((to) & ~(from) & ~h) == 0)
    if
    :: ((to) & ~(from) & ~h) == 0 -> k = joint + FIRST_STEP; append(k)
    :: else
    fi
  }
}

// Those who left may be destroyed once F is committed, or once a quorum knows; and then for good.
#if RELEASE == 1
#define MAY_RELEASE (1)
#else
#define MAY_RELEASE (COMMIT(VOTERS(view[me]), h))
#endif

inline release() {
  d_step {
    view[me] != 0 && !IS_JOINT(view[me]) && chosen[at[me]] == log[me].e[at[me]] ->
    h = 0;
    for (i : 0 .. N - 1) {
      if
      :: mark[i] >= at[me] && log[i].e[at[me]] == log[me].e[at[me]] -> h = h | (1 << i)
      :: else
      fi
    }
    if
    :: MAY_RELEASE ->
       for (j : 1 .. (1 << N) - 1) {
         answers = j & VOTERS(view[me]);
         if
         :: ELECT(VOTERS(view[me]), answers) ->
            best = 0;
            do
            :: !IN(best, answers) -> best++
            :: else -> break
            od;
            judge();
            ok = ok && (MEMBERS(view[best]) & answers) != 0;
            require(7, ok)
         :: else
         fi
       }
       answers = 0;
       best = 0
    :: else
    fi
  }
}

active [N] proctype Replica() {
  byte me = _pid;
end:
  do
  :: take_term(1)
  :: take_term(2)
  :: take_term(3)
#if T > 3
  :: take_term(4)
#endif
#if T > 4
  :: take_term(5)
#endif
#if T > 5
  :: take_term(6)
#endif
  :: seal(0)
  :: seal(1)
  :: seal(2)
#if N > 3
  :: seal(3)
#endif
#if N > 4
  :: seal(4)
#endif
  :: atomic {
       role[me] == CANDIDATE && ADOPTS ->
       answers = 1 << me;
       may_have_answered(0);
       may_have_answered(1);
       may_have_answered(2);
#if N > 3
       may_have_answered(3);
#endif
#if N > 4
       may_have_answered(4);
#endif
       best = me;
       d_step {
         judge();
         if
         :: !ok || !IN(me, MEMBERS(view[best])) -> best = N
         :: else
         fi
       }
       if
       :: best == N
       :: best < N && STEP(LEAD, arg1, tail[best]) && LAST(best) -> d_step { lead() }
       :: best < N && best != me && STOPS ->
          // It stops half way: its own suffix is gone, a part of the other has come.
          d_step {
            last_common(me, best);
            copy(me, best, p);
            role[me] = FOLLOWER
          }
          do
          :: tail[me] + 1 < tail[best] && MORE ->
             d_step {
               tail[me]++;
               log[me].e[tail[me]] = log[best].e[tail[me]];
               look(me);
               skip
             }
          :: ENOUGH break
          od;
          printf("%c: adopts %c's log through %d, and crashes\n", 65 + me, 65 + best, tail[me])
          TAKEN
       fi;
       answers = 0;
       best = 0
     }
  :: attach(0)
  :: attach(1)
  :: attach(2)
#if N > 3
  :: attach(3)
#endif
#if N > 4
  :: attach(4)
#endif
  :: write(0)
  :: write(1)
  :: write(2)
#if N > 3
  :: write(3)
#endif
#if N > 4
  :: write(4)
#endif
#ifndef AT_ONCE
  :: d_step {
       role[me] == LEADER && tail[me] > mark[me] && STEP(COUNTED, LATEST, 0) ->
       count();
       skip
       TAKEN
     }
  :: learn(0)
  :: learn(1)
  :: learn(2)
#if N > 3
  :: learn(3)
#endif
#if N > 4
  :: learn(4)
#endif
#endif
  :: d_step {
       MAY_APPEND && !STARTED && STEP(APPEND, START, tail[me] + 1) ->
       append(START)
     }
#ifdef VALUES
  :: d_step {
       MAY_APPEND && STARTED && MORE_VALUES && STEP(APPEND, VALUE, tail[me] + 1) ->
       append(VALUE)
     }
#endif
  :: change(V0, V1, JOINT1)
#if V2 || defined(TRACE)
  :: change(FROM2, V2, JOINT2)
#endif
  :: d_step {
       MAY_APPEND && MAY_FINISH && IS_JOINT(view[me]) && STEP(APPEND, view[me] + 1, tail[me] + 1) ->
       k = view[me] + 1;
       append(k)
     }
#ifdef RELEASE
  :: release()
#endif
#ifdef CRASH
  :: d_step {
       (role[me] != FOLLOWER || grant[me] != 0) && promised[me] != LOST && STEP(RESTART, 0, 0) ->
       role[me] = FOLLOWER;
       grant[me] = 0;
       FORGET(me);
       printf("%c: restarts\n", 65 + me)
       TAKEN
     }
#endif
#ifdef LOSS
  :: d_step {
       LOST_ONE && promised[me] != LOST && STEP(LOSE, 0, 0) ->
       promised[me] = LOST;
       role[me] = FOLLOWER;
       grant[me] = 0;
       FORGET(me);
       mark[me] = 0;
       tail[me] = 0;
       for (i : 1 .. P) {
         log[me].e[i] = 0
       }
       look(me);
       printf("%c: its memory is destroyed\n", 65 + me)
       TAKEN
     }
#endif
  od
}
