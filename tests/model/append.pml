// SPDX-License-Identifier: BSD-3-Clause
// The one-sided append, under changes of leaders, restarts and power cuts (P1..P4, P6, P8, P9, P11,
// P14, P15, H3, H4, H6, H7, H9, H11). Three replicas vote throughout; view_change.pml has the rest.
//
// An entry is two lines, head and body. A write places them in any order, and each is persistent or
// lost for itself until a persist of everything before has completed. An entry is sound if both lines are
// of one write, and counts if its head continues the entry before it: the chain. Identity is (term,
// position), so a line holds the term that wrote it. The log that a term began with is told by
// start and before.
//
// LINES shows all that: lines land one by one, the seal is promise, revocation and answer, a power cut keeps
// any part of what is not persistent, and a restart keeps what has landed. The larger runs do without:
// - An entry on its way is decided when somebody looks: at a seal, a restart, a power cut, a delivery.
//   It is the old one, the new one, or torn. When it landed does not show, and a restart is a power cut.
// - What is torn is as good as blank: it is sound again only by another write of the same entry, and
//   that may land whole.
// - Promise and answer are one step. What lands between them could have landed before.
// - A leader counts as soon as it may. Counting later, it only owes less.
// - A leader may have appended everything there is room for: what it has not, lands nowhere.
//
// What is smaller than in the engine in both, and why nothing is missed:
// - Everything that a leader has appended may be on its way to whoever granted it. What it has not
//   posted does not land.
// - A message is late or lost by being a step not taken. A candidate counts its own answer and one other,
//   the better log wins; an answer that was overtaken by a higher promise could have been counted
//   before.
// - The leader counts what is persistent under a grant that stands at that moment; with LATE it may
//   count that later, too.
// - Cut and grant are one step: a cut is persistent before the grant, and done again if none follows.
//   Adoption may stop with any part of the lines there.
// - A power cut of all is one of each, one after the other.
// - The replicas are alike: whichever is touched first is A, the next is B.
// - Commit marks travel in cells alone, and every cell ever written may arrive at any time. Delivery is
//   a look that changes nothing. A scan reads the whole ring.
//
// SHM is the fabric whose writer is another process of the same host (P5, P6). It looks at the grant
// word, publishes its allowance, looks again, and then stores at will; what it stores waits in its
// store buffer. It counts after one more look at the word. The revoker clears the word, has all
// buffers drained (membarrier), and moves the ring away from whoever has an allowance. A
// process may die there, the power stays.
//
// I1 nobody commits, or delivers, different entries at one position. I2 a leader's log has everything
// that was acknowledged in lower terms. I3 what is acknowledged is whole and persistent on a majority
// at every moment: it survives a power cut of all. I4 one leader a term. I5 what was counted of a replica
// is persistent there, and in its answer to the next seal. I6 nothing acknowledged is ever cut off. I7
// nothing torn is delivered. I8 behind a seal's scan nobody but its sealer changes a byte. I9 no
// commit mark exceeds what is acknowledged.

#define N 3
#ifndef P  // positions
#define P 2
#endif
#ifndef T  // terms
#define T 3
#endif
#ifndef CANDIDATES
#define CANDIDATES 3
#endif
#if defined(SHM) || defined(LATE)
#define ACKED
#endif

// An entry as its ring holds it: head and body, each the term that wrote it; 0: blank.
#define WHOLE(term) ((term) * 9)
#define HEAD(e) ((e) >> 3)
#define BODY(e) ((e) & 7)
#define WITH_HEAD(e, term) (BODY(e) | ((term) << 3))
#define WITH_BODY(e, term) (((e) & 56) | (term))

typedef Ring { byte e[P + 1] }  // e[1] .. e[P]
Ring ring[N];
byte promised[N];  // persistent
byte grant[N];     // the term that may write here; 0: closed
byte settled[N];   // through here this ring's writer has had everything made persistent
byte leads[N];     // the term it leads; 0: none
bool candidate[N];
#ifdef LINES
Ring kept[N];    // what a power cut leaves
bool sealed[N];  // it has answered the seal of the term that it promised
#define SEALED(r) (sealed[r] && grant[r] == 0)
#else
#define kept ring
#define SEALED(r) (grant[r] == 0)
#endif

byte owner[T + 1];   // who took the term, from 1
byte start[T + 1];   // position of the first entry of a term; 0: nobody led it yet
byte before[T + 1];  // the term of the entry before that
byte tail[T + 1];    // the leader's
byte mark[T + 1];    // the leader's commit mark
#ifdef ACKED
typedef Peers { byte through[N] }
Peers acked[T + 1];  // what the leader of a term knows to be persistent
#endif

byte chosen[P + 1];  // acknowledged: the entry's term

#if defined(MUTANT_NO_REVOKE) || defined(MUTANT_GRANT_SURVIVES)
#define ZOMBIES
byte zombie[N];       // a grant that was closed in name only, and behind what
byte zombie_from[N];
#endif
#if defined(MUTANT_VOLATILE_PROMISE) || defined(MUTANT_TERM_TWICE)
byte saved[N];  // what a restart finds of the promise
#endif
#ifdef MUTANT_NO_REVALIDATE
byte opened[T + 1];
#endif
#if REACH == 2
byte torn_at[N];
#endif
#ifdef SHM
#define NONE 0
#define LOOKED 1     // at the grant word, once
#define ANNOUNCED 2  // its allowance
#define OPEN 3       // has looked again: it may store
#define ORPHANED 4   // the ring was moved away from under it
typedef Windows { byte on[N] }
Windows window[N];  // of a leader, into the others' rings
#endif

#ifndef SHM
#define barrier() skip
#define close_windows() skip
#endif

byte broken;
byte keep, it;  // of the step under way
hidden byte i, j, k, n, q, u, d, w, x, torn, other, entry, best, best_tail, best_term;

#define IN(r, set) (((set) >> (r)) & 1)
#define QUORUM(set) (IN(0, set) + IN(1, set) + IN(2, set) >= 2)
// The term of position x in the log of term t's leader, and of what stands before an entry of t.
#define AT3(t, x) ((x) >= start[t] -> (t) : before[t])
#define AT2(t, x) ((x) >= start[t] -> (t) : AT3(before[t], x))
#define AT(t, x) ((x) >= start[t] -> (t) : AT2(before[t], x))
#define PREV(t, x) ((x) > start[t] -> (t) : before[t])
#define WRITER(r) (grant[r] != 0 -> grant[r] : leads[r])
#define ALIVE(t) (leads[owner[t] - 1] == (t))
#define TOUCHED(r) ((r) == 0 || promised[((r) + 2) % N] != 0)

#ifdef ONLY
#define EXPECTED(invariant) ((invariant) == ONLY)
#else
#define EXPECTED(invariant) (1)
#endif

inline require(invariant, holds) {
  if
  :: (holds) || !EXPECTED(invariant) -> skip
  :: else -> broken = invariant; assert(broken != invariant)
  fi
}

// Rings

#ifdef MUTANT_NO_CHECKSUM
#define SOUND(e) (HEAD(e) != 0)
#else
#define SOUND(e) (HEAD(e) != 0 && HEAD(e) == BODY(e))
#endif
#ifdef MUTANT_NO_CHAIN
#define CHAINS(e, x, u) (HEAD(e) >= (u))
#else
#define CHAINS(e, x, u) (PREV(HEAD(e), x) == (u))
#endif

// q: the last position of the log that r's ring holds; u: its term.
inline scan(r) {
  q = 0;
  u = 0;
  do
  :: q < P && SOUND(ring[r].e[q + 1]) && CHAINS(ring[r].e[q + 1], q + 1, u) ->
     q++;
     u = HEAD(ring[r].e[q])
  :: else -> break
  od
}

// d: the last position that r's log, through q, has in common with the first `length` of term t's.
inline last_common(r, t, length) {
  scan(r);
  d = 0;
  do
  :: d < q && d < length && HEAD(ring[r].e[d + 1]) == AT(t, d + 1) -> d++
  :: else -> break
  od
}

// Puts `entry` there, persistently.
inline keep_entry(replica, where) {
  ring[replica].e[where] = entry;
  kept[replica].e[where] = entry
}

inline flush(r) {
#ifdef LINES
  for (i : 1 .. P) {
    kept[r].e[i] = ring[r].e[i]
  }
#endif
  skip
}

// After last_common: its suffix goes, and nothing old continues the chain behind d.
inline cut(r) {
  for (i : 1 .. P) {
    require(6, i <= d || i > q || chosen[i] == 0 || HEAD(ring[r].e[i]) != chosen[i])
  }
  if
  :: d < P ->
#ifdef LINES
     entry = WITH_HEAD(ring[r].e[d + 1], 0);
#else
     entry = 0;
#endif
     keep_entry(r, d + 1)
  :: else
  fi
}

inline check_durable() {
  n = 0;
  for (j : 0 .. N - 1) {
    other = 1;
    for (i : 1 .. P) {
      other = other && (chosen[i] == 0 || kept[j].e[i] == WHOLE(chosen[i]))
    }
    n = n + other
  }
  require(3, n >= 2)
}

// On the way

#define ON_ITS_WAY(r, x) (WRITER(r) != 0 && (x) > settled[r] && (x) <= tail[WRITER(r)])

#ifndef LINES
inline decide(r, at) {
  if
  :: at <= P && ON_ITS_WAY(r, at) ->
     if
     :: ring[r].e[at] = WHOLE(AT(WRITER(r), at))
     :: ring[r].e[at] != 0 -> ring[r].e[at] = 0
     :: true
     fi
  :: else
  fi
}

inline decide_all(r) {
  decide(r, 1);
  decide(r, 2);
#if P > 2
  decide(r, 3);
#endif
#if P > 3
  decide(r, 4);
#endif
  skip
}
#endif

// Everything posted here through `last` is there, and persistent.
inline settle(r, last) {
  for (i : 1 .. P) {
    if
    :: i > settled[r] && i <= last ->
       entry = WHOLE(AT(WRITER(r), i));
       keep_entry(r, i)
    :: else
    fi
  }
  if
  :: last > settled[r] -> settled[r] = last
  :: else
  fi
}

#ifdef ZOMBIES
#define HAUNTS(t) (zombie[0] == t || zombie[1] == t || zombie[2] == t)
#else
#define HAUNTS(t) (0)
#endif

// What nobody needs any more, so that states that differ in nothing else are one.
inline forget_terms() {
  for (i : 1 .. T) {
    if
    :: owner[i] != 0 && !ALIVE(i) ->
#ifdef ACKED
       for (j : 0 .. N - 1) {
         acked[i].through[j] = 0
       }
#endif
       if
       :: grant[0] != i && grant[1] != i && grant[2] != i && !HAUNTS(i) -> tail[i] = 0; mark[i] = 0
       :: else
       fi
    :: else
    fi
  }
  skip
}

// It leads no more and asks for no votes (P1).
inline step_down() {
  if
  :: leads[me] != 0 ->
     close_windows();
     settled[me] = 0;
     leads[me] = 0
  :: else
  fi;
  candidate[me] = 0
}

#ifdef ZOMBIES
inline survive() {
  if
  :: grant[me] != 0 -> zombie[me] = grant[me]; zombie_from[me] = settled[me]
  :: else
  fi
}
#endif

// No byte of the old grant lands any more. What is there is made persistent (P2).
inline close() {
#ifndef MUTANT_NO_FLUSH
  flush(me);
#endif
#ifdef MUTANT_NO_REVOKE
  survive();
#endif
#ifdef SHM
  rehome();
#endif
#ifdef ACKED
  for (i : 1 .. P) {
    entry = WHOLE(AT(grant[me], i));
    require(5, grant[me] == 0 || i > acked[grant[me]].through[me] || kept[me].e[i] == entry)
  }
#endif
  if
  :: grant[me] != 0 -> settled[me] = 0
  :: else
  fi;
  grant[me] = 0
}

// Shared memory: a writer's window into a ring

#ifdef SHM
// What its store buffers hold is there: before whatever it does next that others see, and when its
// process ends.
inline drain(writer) {
  for (j : 0 .. N - 1) {
    if
    :: window[writer].on[j] == OPEN && grant[j] == leads[writer] ->
       other = acked[leads[writer]].through[j];
       settle(j, other)
    :: else
    fi
  }
}

inline close_windows() {
  drain(me);
  for (j : 0 .. N - 1) {
    window[me].on[j] = NONE
  }
}

// P6: the revoker has everybody's store buffers drained, before it reads the allowances and copies.
inline barrier() {
#ifndef MUTANT_NO_BARRIER
  d_step {
    if
    :: grant[me] != 0 && ALIVE(grant[me]) ->
       n = acked[grant[me]].through[me];
       settle(me, n)
    :: else
    fi
  }
#endif
  skip
}

// P5: who may store here goes on storing to where nobody reads.
inline rehome() {
#ifndef MUTANT_NO_REHOMING
  for (j : 0 .. N - 1) {
    if
    :: window[j].on[me] == ANNOUNCED || window[j].on[me] == OPEN -> window[j].on[me] = ORPHANED
    :: else
    fi
  }
#endif
  skip
}

#define GRANTED(r) (leads[me] != 0 && grant[r] == leads[me])

// What the writer does next to r's ring.
inline use_window(r) {
  if
  :: GRANTED(r) && window[me].on[r] == NONE -> window[me].on[r] = LOOKED
  :: window[me].on[r] == LOOKED -> window[me].on[r] = ANNOUNCED
  :: window[me].on[r] == ANNOUNCED ->
#ifdef MUTANT_ONE_LOOK
     window[me].on[r] = OPEN;
#else
     window[me].on[r] = (GRANTED(r) -> OPEN : NONE);
#endif
     printf("%c: has looked again at the grant of %c\n", 65 + me, 65 + r)
  :: GRANTED(r) && window[me].on[r] == OPEN && acked[leads[me]].through[r] < P ->
     acked[leads[me]].through[r]++;
     printf("%c: has stored to %c through %d, and looked\n", 65 + me, 65 + r, acked[leads[me]].through[r])
  :: window[me].on[r] == ORPHANED ->
     // It follows where the ring was moved to; the window was for the old place.
#ifdef MUTANT_KEEP_WINDOW
     window[me].on[r] = OPEN;
#else
     window[me].on[r] = NONE;
#endif
     printf("%c: follows the ring of %c\n", 65 + me, 65 + r)
  :: leads[me] != 0 && !GRANTED(r) && window[me].on[r] == OPEN ->
     store_late(r)
  :: else
  fi
}

// The grant is closed, and the window open.
inline store_late(r) {
  for (i : 1 .. P) {
    if
    :: i <= tail[leads[me]] && HEAD(ring[r].e[i]) != AT(leads[me], i) ->
       entry = WHOLE(AT(leads[me], i));
       keep_entry(r, i);
       printf("%c: position %d of %c lands late\n", 65 + r, i, 65 + me);
       require(8, false)
    :: else
    fi
  }
}

inline write() {
  atomic {
    leads[me] != 0 ->
    any_replica();
    d_step {
      if
      :: it != me -> use_window(it)
      :: else
      fi;
      it = 0
    }
  }
}

inline reap() {
  d_step {
    leads[me] != 0 && mark[leads[me]] < tail[leads[me]] ->
    w = leads[me];
    count()
  }
}
#endif

#ifdef ZOMBIES
inline strike(at) {
  d_step {
    zombie[me] != 0 && at > zombie_from[me] && at <= tail[zombie[me]] &&
        HEAD(ring[me].e[at]) != AT(zombie[me], at) ->
    entry = WHOLE(AT(zombie[me], at));
    keep_entry(me, at);
    printf("%c: position %d of term %d lands late\n", 65 + me, at, zombie[me]);
    require(8, false)
  }
}
#endif

// Terms

inline promise(t) {
#ifdef MUTANT_NO_OWN_SEAL
  candidate[me] = 0;
#else
#ifdef LINES
  if
  :: leads[me] != 0 -> settle(me, tail[leads[me]])  // what it has stored to its own ring is there
  :: else
  fi;
#endif
  step_down();
#endif
#ifdef MUTANT_VOLATILE_PROMISE
  saved[me] = promised[me];
#endif
  promised[me] = t;
#ifdef LINES
  sealed[me] = 0;
#elif !defined(MUTANT_SCAN_FIRST)
  close();
#endif
  forget_terms();
  check_durable()
}

#ifdef LINES
#define decide_all(r) skip
#endif
#ifdef MUTANT_SCAN_FIRST
#define decide_at_seal() skip
#define ANSWERED(r) (1)
#else
#define decide_at_seal() barrier(); decide_all(me)
#define ANSWERED(r) SEALED(r)
#endif
#ifdef MUTANT_TERM_TWICE
#define FREE(t) (owner[t] == 0 || owner[t] == me + 1)
#else
#define FREE(t) (owner[t] == 0)
#endif
#ifdef MUTANT_LOWER_TERM
#define REFUSES(t) ((t) == promised[me])
#else
#define REFUSES(t) ((t) <= promised[me])  // P3
#endif

inline any_term() {
  if
  :: it = 1
  :: it = 2
#if T > 2
  :: it = 3
#endif
#if T > 3
  :: it = 4
#endif
  fi
}

inline any_replica() {
  if
  :: it = 0
  :: it = 1
  :: it = 2
  fi
}

#define MAY_TAKE (it > promised[me] && FREE(it) && me < CANDIDATES)
#define MAY_HEAR (!REFUSES(it) && owner[it] != 0 && owner[it] != me + 1)

// Its own, or one that it hears of.
inline new_term() {
  atomic {
    TOUCHED(me) && (!REFUSES(1) || !REFUSES(T)) ->
    any_term();
    if
    :: MAY_TAKE || MAY_HEAR ->
       decide_at_seal();
       d_step {
#ifdef MUTANT_TERM_TWICE
         saved[me] = (MAY_TAKE -> promised[me] : 0);
#endif
         keep = MAY_TAKE;
         promise(it);
         printf("%c: promises term %d (1: its own) %d\n", 65 + me, it, keep);
         if
         :: keep -> owner[it] = me + 1; candidate[me] = 1
         :: else
         fi;
         keep = 0
       }
    :: else
    fi;
    it = 0
  }
}

#ifdef LINES
inline answer() {
  d_step {
    promised[me] != 0 && !sealed[me] ->
    close();
    sealed[me] = 1;
    forget_terms();
    check_durable();
    printf("%c: answers for term %d\n", 65 + me, promised[me])
  }
}
#endif

#ifdef MUTANT_SCAN_FIRST
inline revoke() {
  atomic {
    grant[me] != 0 && grant[me] != promised[me] ->
    decide_all(me);
    d_step {
      close();
      forget_terms()
    }
  }
}
#endif

#ifdef MUTANT_LONGEST
#define BETTER (q > best_tail || q == best_tail && u > best_term)
#elif defined(MUTANT_OWN_LOG)
#define BETTER (0)
#else
#define BETTER (u > best_term || u == best_term && q > best_tail)
#endif

// best: whichever of us two has the log with the higher last term, then last position (P3).
inline judge(r) {
  scan(me);
  best = me;
  best_term = u;
  best_tail = q;
  scan(r);
  if
  :: BETTER ->
     best = r;
     best_term = u;
     best_tail = q
  :: else
  fi
}

// Its own suffix is cut; what it adopts is copied and made persistent.
inline lead(r) {
  w = promised[me];
  judge(r);
  last_common(me, best_term, best_tail);
  if
  :: best != me -> cut(me)
  :: else
  fi;
  for (i : 1 .. P) {
    if
    :: i > d && i <= best_tail ->
       entry = WHOLE(AT(best_term, i));
       keep_entry(me, i)
    :: else
    fi
  }
  require(4, start[w] == 0);
  before[w] = best_term;
  start[w] = best_tail + 1;
#ifdef LINES
  tail[w] = best_tail;
#else
  tail[w] = P;
#endif
  settled[me] = best_tail;
  leads[me] = w;
  candidate[me] = 0;
  // Whom a higher term has overtaken commits nothing that differs: I1.
  x = 1;
  for (i : 1 .. T) {
    x = x && (i <= w || start[i] == 0)
  }
  for (i : 1 .. P) {
    entry = (i <= best_tail -> AT(w, i) : 0);
    require(2, !x || chosen[i] == 0 || entry == chosen[i])
  }
  check_durable();
  printf("%c: leads term %d behind %d of term %d\n", 65 + me, w, best_tail, best_term)
}

// Some of its lines are copied, others are not.
inline adopt_line(r, at) {
  if
  :: at <= P && at > keep && SOUND(ring[r].e[at]) && ring[r].e[at] != ring[me].e[at] ->
     if
     :: ring[me].e[at] = ring[r].e[at]
#ifdef LINES
     :: ring[me].e[at] = WITH_HEAD(ring[me].e[at], HEAD(ring[r].e[at]))
     :: ring[me].e[at] = WITH_BODY(ring[me].e[at], BODY(ring[r].e[at]))
#else
     :: ring[me].e[at] != 0 -> ring[me].e[at] = 0
#endif
     :: true
     fi
  :: else
  fi
}

inline win() {
  atomic {
    candidate[me] && ANSWERED(me) ->
    any_replica();
    if
    :: it != me && promised[it] == promised[me] && ANSWERED(it) ->
       d_step {
         judge(it);
         keep = (best == it -> 0 : P)
       }
       if
       :: d_step { lead(it) }
       :: keep == 0 ->
          d_step {
            judge(it);
            last_common(me, best_term, best_tail);
            cut(me);
            keep = d
          }
          adopt_line(it, 1);
          adopt_line(it, 2);
#if P > 2
          adopt_line(it, 3);
#endif
          d_step {
            flush(me);
            step_down();
            check_durable();
            printf("%c: adopts, and stops half way\n", 65 + me)
          }
       fi
    :: else
    fi;
    keep = 0;
    it = 0
  }
}

// Appending and counting

#ifdef LINES
inline append() {
  d_step {
    leads[me] != 0 && tail[leads[me]] < P ->
    tail[leads[me]]++;
    printf("%c: appends at %d\n", 65 + me, tail[leads[me]])
  }
}
#endif

inline let_in(r) {
  w = leads[me];
  last_common(r, w, tail[w]);
#ifdef MUTANT_CUT_LOW
  d = 0;
#endif
#if REACH == 2
  entry = (d < tail[w] -> ring[r].e[d + 1] : 0);
  torn_at[r] = (HEAD(entry) != BODY(entry) && HEAD(entry) == AT(w, d + 1) -> d + 1 : 0);
#endif
  cut(r);
#ifdef MUTANT_NO_REVALIDATE
  if
  :: IN(r, opened[w]) -> d = tail[w]
  :: else -> opened[w] = opened[w] | (1 << r)
  fi;
#endif
#ifdef SHM
  window[me].on[r] = NONE;
#endif
  grant[r] = w;
  settled[r] = d;
  printf("%c: lets %c in behind %d\n", 65 + r, 65 + me, d);
  check_durable();
  told(r)
}

inline open() {
  atomic {
    leads[me] != 0 ->
    any_replica();
    d_step {
      if
      :: it != me && promised[it] == leads[me] && SEALED(it) -> let_in(it)
      :: else
      fi;
      it = 0
    }
  }
}

#ifdef MUTANT_NO_TERM_START
#define COUNTS(t, x) (1)
#else
#define COUNTS(t, x) ((x) >= start[t])  // H6: at its term start or behind
#endif
#ifdef MUTANT_FEW
#define ENOUGH(set) ((set) != 0)
#else
#define ENOUGH(set) QUORUM(set)
#endif
#define IS_OWN(r) ((r) == owner[w] - 1)
#ifdef MUTANT_NO_OWN_SEAL
#define OWN_HAS(r, x) (settled[r] >= (x) || promised[r] != w)
#else
#define OWN_HAS(r, x) (settled[r] >= (x))
#endif
#ifdef ACKED
#define HAS(r, x) (IS_OWN(r) && OWN_HAS(r, x) || !IS_OWN(r) && acked[w].through[r] >= (x))
#else
#define HAS(r, x) (IS_OWN(r) && OWN_HAS(r, x) || grant[r] == w && settled[r] >= (x))
#endif

inline commit_through(last) {
  mark[w] = last;
  for (i : 1 .. P) {
    if
    :: i <= last ->
       entry = AT(w, i);
       require(1, chosen[i] == 0 || chosen[i] == entry);
       chosen[i] = entry;
       for (other : 1 .. T) {
         d = AT(other, i);
         require(2, other <= w || start[other] == 0 || d == entry)
       }
       for (n : 0 .. N - 1) {
         require(5, !IN(n, k) || kept[n].e[i] == WHOLE(entry));
#if REACH == 5
         require(10, !IN(n, k) || IS_OWN(n) || grant[n] == w);
#endif
         skip
       }
    :: else
    fi
  }
#if REACH == 1
  require(10, chosen[1] != 1 || start[2] == 0 || chosen[P] != 3);
#endif
  check_durable()
}

// Of term w. k: who holds everything through x, as its leader knows.
inline count() {
  x = tail[w];
  k = HAS(0, x) + 2 * HAS(1, x) + 4 * HAS(2, x);
  do
  :: x > mark[w] && !ENOUGH(k) ->
     x--;
     k = HAS(0, x) + 2 * HAS(1, x) + 4 * HAS(2, x)
  :: else -> break
  od;
  if
  :: x > mark[w] && COUNTS(w, x) ->
     printf("%c: commits through %d, held by %d\n", 64 + owner[w], x, k);
#ifdef SHM
     n = owner[w] - 1;
     drain(n);  // an acknowledgement is a later store
#endif
     commit_through(x)
  :: else
  fi
}

// The leader of term w learns how much is persistent in r's ring, and counts.
inline told(r) {
#ifdef ACKED
  if
  :: !IS_OWN(r) -> acked[w].through[r] = settled[r]
  :: else
  fi;
#endif
  count()
}

#ifdef LINES
#define LANDED(r, x) (ring[r].e[x] == WHOLE(AT(WRITER(r), x)))
#else
#define LANDED(r, x) (1)
#endif
#ifdef SHM
#define PERSISTS(r) (grant[r] == 0)  // into the others' rings there is nothing but stores
#else
#define PERSISTS(r) (1)
#endif

inline persist() {
  d_step {
    WRITER(me) != 0 && PERSISTS(me) && settled[me] < tail[WRITER(me)] && LANDED(me, settled[me] + 1) ->
    w = WRITER(me);
    x = settled[me] + 1;
#ifdef MUTANT_HOLE
    x = tail[w];
    entry = WHOLE(AT(w, x));
    keep_entry(me, x);
    settled[me] = x;
#elif defined(MUTANT_COUNT_PLACED)
    if
    :: grant[me] != 0 -> settled[me] = x
    :: else -> settle(me, x)
    fi;
#elif defined(MUTANT_OWN_PLACED)
    if
    :: grant[me] == 0 -> settled[me] = x
    :: else -> settle(me, x)
    fi;
#else
    settle(me, x);
#endif
#if REACH == 2
    require(10, torn_at[me] != x);
#endif
    printf("%c: position %d is persistent\n", 65 + me, settled[me]);
    if
    :: ALIVE(w) -> told(me)
    :: else
    fi
  }
}

// Delivery

#ifdef MUTANT_HASTY_MARK
#define TOLD(t, x) (start[t] != 0 && start[t] <= (x) && (x) <= tail[t])
#else
#define TOLD(t, x) (start[t] != 0 && start[t] <= (x) && (x) <= mark[t])
#endif
#ifdef MUTANT_LATE_CELL
#define ACCEPTS(t, e) ((t) < promised[me] || (t) == promised[me] && (t) == HEAD(e))
#elif defined(MUTANT_CELL_ONLY)
#define ACCEPTS(t, e) ((t) == promised[me])
#else
#define ACCEPTS(t, e) ((t) == promised[me] && (t) == HEAD(e))
#endif

// What a follower would deliver by any cell that there is, whatever of what is on its way is there.
inline deliver() {
  d_step {
    grant[me] != 0 && promised[me] == grant[me] ->
#ifndef LINES
    for (k : 0 .. (1 << (tail[grant[me]] - settled[me])) - 1) {
#endif
      u = 0;
      torn = 0;
      n = 0;
      d = 1;
      for (q : 1 .. P) {
        entry = ring[me].e[q];
#ifndef LINES
        if
        :: q > settled[me] && IN(q - settled[me] - 1, k) -> entry = WHOLE(AT(grant[me], q))
        :: else
        fi;
#endif
        d = d && SOUND(entry) && CHAINS(entry, q, u);
        u = HEAD(entry);
        torn = torn || HEAD(entry) != BODY(entry);
        n = n || chosen[q] != u;
        for (other : 1 .. T) {
          if
          :: d && TOLD(other, q) && ACCEPTS(other, entry) ->
             require(9, chosen[q] != 0);
             require(7, !torn);
             require(1, !n)
          :: else
          fi;
#if REACH == 4
          require(10, d || !TOLD(other, q) || other >= promised[me]);
#endif
          skip
        }
      }
#ifndef LINES
    }
#endif
    skip
  }
}

// Restarts

#define MAY_STOP (leads[me] != 0 || candidate[me] || grant[me] != 0)

inline come_back() {
#ifdef MUTANT_GRANT_SURVIVES
  survive();
#endif
  close();
  step_down();
#if defined(MUTANT_VOLATILE_PROMISE) || defined(MUTANT_TERM_TWICE)
  promised[me] = (saved[me] != 0 -> saved[me] : promised[me]);
#endif
#ifdef LINES
  sealed[me] = 0;
#endif
  forget_terms();
  check_durable()
}

inline restart() {
  atomic {
    MAY_STOP ->
    barrier();
    decide_all(me);
    d_step {
      come_back();
      printf("%c: restarts\n", 65 + me)
    }
  }
}

#ifdef LINES
inline lose(at) {
  if
  :: at <= P && HEAD(ring[me].e[at]) != HEAD(kept[me].e[at]) ->
     if
     :: ring[me].e[at] = WITH_HEAD(ring[me].e[at], HEAD(kept[me].e[at]))
     :: true
     fi
  :: else
  fi;
  if
  :: at <= P && BODY(ring[me].e[at]) != BODY(kept[me].e[at]) ->
     if
     :: ring[me].e[at] = WITH_BODY(ring[me].e[at], BODY(kept[me].e[at]))
     :: true
     fi
  :: else
  fi
}

inline lose_power() {
  atomic {
    MAY_STOP ->
    lose(1);
    lose(2);
#if P > 2
    lose(3);
#endif
    d_step {
      flush(me);
      come_back();
      printf("%c: loses power\n", 65 + me)
    }
  }
}

inline land(at) {
  if
  :: d_step {
       at <= P && ON_ITS_WAY(me, at) && HEAD(ring[me].e[at]) != AT(WRITER(me), at) ->
#if REACH == 3
       require(10, grant[me] == 0 || promised[me] == grant[me] || ALIVE(grant[me]));
#endif
       ring[me].e[at] = WITH_HEAD(ring[me].e[at], AT(WRITER(me), at));
       printf("%c: head of %d lands\n", 65 + me, at)
     }
  :: d_step {
       at <= P && ON_ITS_WAY(me, at) && BODY(ring[me].e[at]) != AT(WRITER(me), at) ->
       ring[me].e[at] = WITH_BODY(ring[me].e[at], AT(WRITER(me), at));
       printf("%c: body of %d lands\n", 65 + me, at)
     }
  fi
}
#endif

active [N] proctype Replica() {
  byte me = _pid;
end:
  do
  :: new_term()
  :: win()
  :: open()
  :: persist()
  :: deliver()
  :: restart()
#ifdef ZOMBIES
  :: strike(1)
  :: strike(2)
#endif
#ifdef MUTANT_SCAN_FIRST
  :: revoke()
#endif
#ifdef SHM
  :: write()
  :: reap()
#endif
#ifdef LINES
  :: append()
  :: answer()
  :: lose_power()
  :: land(1)
  :: land(2)
#if P > 2
  :: land(3)
#endif
#endif
  od
}
