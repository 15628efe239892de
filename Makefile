# kplan: one build everywhere; GPU libraries are loaded at run time, never linked.
#   MODE=release|asan   V=1 shows commands   WERROR=1 warnings are errors   T=suite one test suite
MODE    ?= release
PREFIX  ?= /usr/local
CC      := gcc
FUZZ_CC ?= clang-14
PKGS    := libzmq msgpack sqlite3 jansson zlib
B       := build/$(MODE)
VERSION := 0.1.0

WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
          -Wwrite-strings -Wpointer-arith -Wcast-qual -Wundef $(if $(WERROR),-Werror)
SAN    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_release := -O2 -g
OPT_asan    := -O1 -g $(SAN)
CPPFLAGS += -I. -I$(B)/gen -D_POSIX_C_SOURCE=200809L -DKP_VERSION='"$(VERSION)"'
CFLAGS   += -std=c11 $(OPT_$(MODE)) $(WARN) -pthread -MMD -MP
LDFLAGS  += -Wl,--as-needed $(if $(filter asan,$(MODE)),$(SAN))
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS   += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldl -lm -pthread

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

ROOMS    := proto store planner/container planner/model planner/estimate planner/search planner/plan planner/serve \
            planner/cli agent agent/inventory agent/verify
SRC      := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))
MAINS    := $(filter %/main.c,$(SRC))
GEN      := $(patsubst configs/%.json,$(B)/gen/%_json.c,$(wildcard configs/*.json)) \
            $(patsubst store/%.sql,$(B)/gen/%_sql.c,$(wildcard store/*.sql))
LIB_OBJ  := $(patsubst %.c,$(B)/obj/%.o,$(filter-out $(MAINS),$(SRC))) $(GEN:.c=.o)
LIB      := $(B)/libkplan.a
PROGRAMS := $(B)/kplan $(B)/kpland $(B)/kplan-agent
TEST_DIRS := $(filter-out tests/cases tests/data tests/fuzz tests/standin tests/lib,\
             $(patsubst %/,%,$(wildcard tests/*/)))
TEST_BINS := $(patsubst tests/%,$(B)/test_%,$(foreach d,$(TEST_DIRS),$(if $(wildcard $(d)/test_*.c),$(d))))
TEST_LIB_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c))
STANDIN  := $(patsubst tests/standin/%.c,$(B)/standin/%.so,$(wildcard tests/standin/lib*.c))
FUZZ_OBJ := $(patsubst %.c,build/fuzz/obj/%.o,$(filter-out $(MAINS),$(SRC)) $(GEN) tests/lib/fill.c)
FUZZERS  := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_S   ?= 20
DATA     ?= ../shared/data

.PHONY: all
all: $(PROGRAMS) ## build kplan, kpland and kplan-agent into build/release
$(B)/kplan: $(B)/obj/planner/cli/main.o
$(B)/kpland: $(B)/obj/planner/serve/main.o
$(B)/kplan-agent: $(B)/obj/agent/main.o
$(PROGRAMS): $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LDLIBS)
$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^
$(B)/obj/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -c -o $@ $<
$(B)/gen/%.o: $(B)/gen/%.c
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
# A text file as a C string: kp_text_NAME.
embed = mkdir -p $(@D) && { printf 'extern const char kp_text_$(*F)_$(1)[];\nconst char kp_text_$(*F)_$(1)[] = {'; \
        od -An -v -tu1 $< | sed 's/  */,/g; 1s/,//; s/^,//; s/$$/,/'; printf '0};\n'; } > $@
$(B)/gen/%_json.c: configs/%.json
	$(Q)$(call embed,json)
$(B)/gen/%_sql.c: store/%.sql
	$(Q)$(call embed,sql)

.PHONY: tests test asan layers purity fuzz check
tests: all $(TEST_BINS) $(STANDIN) ## build the test binaries
.SECONDEXPANSION:
test_obj = $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/$(1)/*.c))
$(TEST_BINS): $(B)/test_%: $$(call test_obj,$$*) $(TEST_LIB_OBJ) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -rdynamic -o $@ $(filter %.o,$^) $(LIB) -lcriterion $(LDLIBS)
$(B)/standin/%.so: tests/standin/%.c $(wildcard tests/standin/*.h agent/*/*_api.h)
	$(call say,SO,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(filter-out -MMD -MP,$(CFLAGS)) -fPIC -shared -o $@ $< -pthread -lm
	$(Q)for v in .1 .2 .12 .13; do ln -sf $(@F) $@$$v; done
test: tests layers purity ## build and run all tests, or one suite: make test T=comm
	$(Q)sh tests/run.sh $(B) $(T)
asan: ## the same under AddressSanitizer and UBSan
	$(Q)$(MAKE) --no-print-directory MODE=asan tests && sh tests/run.sh build/asan $(T)
layers: ## who may include whom
	$(Q)sh tests/layers.sh
purity: $(LIB) ## the core has no I/O, clock or globals
	$(Q)sh tests/purity.sh $(B)
build/fuzz/obj/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(FUZZ_CC) $(CPPFLAGS) $(PKG_CFLAGS) -std=c11 -O1 -g -pthread -MMD -MP \
	    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -c -o $@ $<
build/fuzz/libkplan.a: $(FUZZ_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
build/fuzz/fuzz_%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/libkplan.a
	$(call say,FUZZ,$@)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LDLIBS)
fuzz: $(FUZZERS) ## run every fuzz target for FUZZ_S seconds
	$(Q)sh tests/fuzz/run.sh $(FUZZ_S) $(FUZZERS)
packages: ## install what is missing (Debian 12, root or sudo)
	$(Q)sh tests/packages.sh configs/packages.txt
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))
check: packages ## install, build and run everything that CI runs
	$(Q)$(MAKE) $(JOBS) --no-print-directory WERROR=1 all
	$(Q)$(MAKE) $(JOBS) --no-print-directory WERROR=1 fuzz FUZZ_S=5
	$(Q)$(MAKE) $(JOBS) --no-print-directory WERROR=1 asan
	$(Q)$(MAKE) $(JOBS) --no-print-directory WERROR=1 test

.PHONY: goldens truth bench demo packages format install clean help
goldens: all ## compare all model files under DATA with their recorded facts
	$(Q)python3 tests/goldens.py $(B)/kplan $(DATA)
truth: all ## compare estimates with the measurements under DATA (SET=NAME lists one set's rows)
	$(Q)python3 tests/truth $(B)/kplan $(DATA) $(SET)
bench: all ## seconds, counts and ratios on fixed cases, a line each
	$(Q)python3 tests/bench.py $(B)
demo: packages ## a cluster of four invented nodes: plan, lease, verify, store a real model
	$(Q)$(MAKE) $(JOBS) --no-print-directory all && sh tests/demo.sh $(B)
format: ## clang-format on all sources
	$(Q)clang-format -i $(SRC) $(foreach r,$(ROOMS),$(wildcard $(r)/*.h)) $(wildcard tests/*/*.c)
install: all ## install the three programs under DESTDIR/PREFIX/bin
	install -d $(DESTDIR)$(PREFIX)/bin && install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
clean: ## remove build/
	rm -rf build
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12
-include $(patsubst %.o,%.d,$(LIB_OBJ) $(FUZZ_OBJ)) $(wildcard $(B)/obj/*/main.d $(B)/obj/*/*/main.d $(B)/obj/tests/*/*.d)
