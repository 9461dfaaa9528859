// SPDX-License-Identifier: BSD-3-Clause
// The traces that trace.pml follows: read from $CAISSON_TRACES, and what became of each, said at
// the end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Element {
  unsigned char what, who, argument[3];
};

enum { kElementsMax = 2000000, kTracesMax = 20000, kNameMax = 40 };

static const char* const kSteps[] = {"",      "take",   "seal",   "lead",     "adopt", "attach",
                                     "write", "append", "commit", "learn",    "hint",  "restart",
                                     "lose",  "log",    "tail",   "promised", "mark"};
static struct Element elements[kElementsMax];
static struct {
  char name[kNameMax];
  unsigned views[4];
  int first, count, reached, broken;
} traces[kTracesMax];
static int traces_count, elements_count;

static void trace_report(void) {
  for (int i = 0; i < traces_count; ++i) {
    const int at = traces[i].reached;
    if (traces[i].broken != 0) {
      printf("trace %s breaks I%d at %d\n", traces[i].name, traces[i].broken, at + 1);
    } else if (at == traces[i].count) {
      printf("trace %s accepted %d\n", traces[i].name, at);
    } else {
      const struct Element* e = &elements[traces[i].first + at];
      printf("trace %s rejected at %d of %d: %s %d %d %d %d\n", traces[i].name, at + 1,
             traces[i].count, kSteps[e->what], e->who, e->argument[0], e->argument[1],
             e->argument[2]);
    }
  }
}

static void trace_bad(const char* what, const char* line) {
  fprintf(stderr, "traces: %s: %s\n", what, line);
  exit(2);
}

static void trace_element(const char* line) {
  char word[16];
  unsigned who = 0, a = 0, b = 0, c = 0;
  if (sscanf(line, "%15s %u %u %u %u", word, &who, &a, &b, &c) != 5) trace_bad("no step", line);
  int what = 1;
  while (what <= 16 && strcmp(word, kSteps[what]) != 0) ++what;
  if (what > 16 || elements_count == kElementsMax) trace_bad("no step, or too many", line);
  elements[elements_count++] =
      (struct Element){(unsigned char)what,
                       (unsigned char)who,
                       {(unsigned char)a, (unsigned char)b, (unsigned char)c}};
  ++traces[traces_count - 1].count;
}

static int trace_load(void) {
  const char* path = getenv("CAISSON_TRACES");
  FILE* file = path == NULL ? NULL : fopen(path, "r");
  if (file == NULL) trace_bad("cannot be read", path == NULL ? "CAISSON_TRACES" : path);
  char line[200];
  while (fgets(line, sizeof line, file) != NULL) {
    if (line[0] == '#' || line[0] == '\n') continue;
    if (strncmp(line, "trace ", 6) != 0) {
      if (traces_count == 0) trace_bad("a step of no trace", line);
      trace_element(line);
      continue;
    }
    if (traces_count == kTracesMax) trace_bad("too many", line);
    unsigned* v = traces[traces_count].views;
    traces[traces_count].first = elements_count;
    if (sscanf(line, "trace %39s %u %u %u %u", traces[traces_count].name, v, v + 1, v + 2, v + 3) !=
        5) {
      trace_bad("no trace", line);
    }
    ++traces_count;
  }
  fclose(file);
  atexit(trace_report);
  return traces_count;
}

static const struct Element* trace_next(int trace, int element) {
  static const struct Element kEnd;
  if (element > traces[trace].reached) traces[trace].reached = element;
  return element < traces[trace].count ? &elements[traces[trace].first + element] : &kEnd;
}

static void trace_breach(int trace, int invariant) { traces[trace].broken = invariant; }
