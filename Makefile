# make            library, command          make test    all tests          make demo   the whole agent loop
# make bench      benchmarks                make install uninstall          DESTDIR=DIR for packagers
# make asan ubsan tsan                      tests under a sanitizer, each in its own build directory
# make exhaustive all 2^32 inputs of the f32 functions (hours)              make format-check
# make docs       writes the options that README and the manual pages list
# make symbols    writes include/dmpo.symbols, what the libraries export
# make clean      what was built            make distclean  that and the configuration
#
# V=1 shows the commands, DMPO_TEST_FAST=1 shortens the tests. The Makefile of an out-of-tree build sets SRC and B
# (build directory).

SRC ?= .
B ?= build
ifeq ($(abspath $(B)),$(abspath $(SRC)))
$(error the build directory must not be the source directory: make clean would remove tests/)
endif

CONFIG = $(B)/config.mk
ifeq ($(filter clean distclean format-check,$(MAKECMDGOALS)),)
include $(CONFIG)
endif

all:

$(CONFIG): $(SRC)/configure
	@if [ -f $(B)/config.status ]; then sh $(B)/config.status; else $(SRC)/configure; fi

VERSION := $(shell sed -n 's/^\#define DMPO_VERSION "\(.*\)"$$/\1/p' $(SRC)/include/dmpo.h)
# Versions that may break a program differ here: the minor one while the major one is 0.
ABI := $(shell echo $(VERSION) | sed 's/^\(0\.[0-9]*\)\..*/\1/; s/^\([1-9][0-9]*\)\..*/\1/')

ifeq ($(V),1)
Q =
say =
else
Q = @
say = @printf '  %-5s %s\n' $(1) $(2);
endif

# ---- what there is ----

# Every folder with sources; make finds the sources in it.
LIB_FOLDERS = core core/files core/numbers \
    io io/tokenizer io/jinja io/data \
    simd simd/kernels simd/kernels/gemm \
    model model/network model/formats model/loss model/train model/infer model/truth model/trace model/check
ENVIRONMENTS = $(patsubst $(SRC)/%/,%,$(sort $(wildcard $(SRC)/agent/env/*/)))
AGENT_FOLDERS = agent/env $(ENVIRONMENTS) agent/rollout agent/pairs agent/online \
    agent/experiment agent/report
CLI_FOLDERS = cli cli/commands cli/commands/chat cli/commands/info cli/commands/show
UNIT_FOLDERS = $(addprefix tests/unit/,$(LIB_FOLDERS) $(AGENT_FOLDERS) $(CLI_FOLDERS))

sources = $(patsubst $(SRC)/%,%,$(sort $(wildcard $(SRC)/$(1))))
sources_of = $(foreach folder,$(1),$(call sources,$(folder)/*.c))

SIMD_FAMILIES = $(call sources,simd/kernels/k_*.c) $(call sources,simd/kernels/gemm/k_*.c)
AMX_SOURCE = simd/kernels/gemm/amx.c
LIB_SOURCES = $(filter-out $(SIMD_FAMILIES) $(AMX_SOURCE),$(call sources_of,$(LIB_FOLDERS)))
AGENT_SOURCES = $(call sources_of,$(AGENT_FOLDERS))
CLI_SOURCES = $(call sources_of,$(CLI_FOLDERS))
RECIPES = $(addprefix $(SRC)/,$(call sources,agent/experiment/recipes/*.json))
CHECKASM = $(call sources,tests/checkasm/*.c)
FUZZ = $(filter-out tests/fuzz/libfuzzer.c,$(call sources,tests/fuzz/*.c))
SUPPORT_SOURCES = $(call sources,tests/support/*.c)
UNIT_SOURCES = $(foreach folder,$(UNIT_FOLDERS),$(call sources,$(folder)/test_*.c))
TESTS = $(call unit,$(UNIT_SOURCES)) $(B)/tests/checkasm $(B)/tests/fuzz
SHELL_TESTS = $(call sources,tests/shell/*.sh)
BENCHES = $(patsubst bench/%.c,$(B)/bench/%,$(call sources,bench/*.c))

# A kernel family is one source and one object for every instruction set.
SIMD_OBJECTS = $(foreach isa,$(ISAS),$(SIMD_FAMILIES:%.c=$(B)/obj/%_$(isa).o)) \
    $(if $(AMX),$(AMX_SOURCE:%.c=$(B)/obj/%.o))
LIB_OBJECTS = $(LIB_SOURCES:%.c=$(B)/obj/%.o) $(SIMD_OBJECTS)
AGENT_OBJECTS = $(AGENT_SOURCES:%.c=$(B)/obj/%.o)
CLI_OBJECTS = $(CLI_SOURCES:%.c=$(B)/obj/%.o) $(B)/obj/recipes.o
SUPPORT_OBJECTS = $(SUPPORT_SOURCES:%.c=$(B)/obj/%.o)

# What is installed offers dmpo_* alone. The command, tests and benchmarks call what is below it, too: they link
# archives of the same objects that hide nothing and are not installed.
STATIC_LIB = $(B)/libdmpo.a
ENGINE = $(B)/obj/engine.a
AGENT = $(B)/obj/agent.a
SUPPORT = $(B)/obj/support.a
SONAME = libdmpo.so.$(ABI)
SHARED_FILE = libdmpo.so.$(VERSION)
ifeq ($(SHARED),yes)
SHARED_LIB = $(B)/$(SHARED_FILE)
endif
PROGRAM = $(if $(CLI_SOURCES),$(B)/dmpo)

all: $(STATIC_LIB) $(SHARED_LIB) $(PROGRAM)

# ---- how it is built ----

# -ffp-contract=off and ARCH_FLAGS come after the user's flags: they are part of the numerics contract. Files and times
# have 64 bits on 32-bit machines, too.
COMPILE = $(CC) -std=c11 -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -I$(B) -I$(SRC) -I$(SRC)/include $(CPPFLAGS) $(WARNINGS) $(call level,$<) $(CFLAGS) $(SANITIZE) \
    -ffp-contract=off $(ARCH_FLAGS) -fPIC -fvisibility=hidden -pthread -MMD -MP
# -O3 is for core and simd: with -O2 products with quantised weights take two to three times as long. What waits for
# kernels, files and people gains nothing from it and compiles faster without, agent and cli by two fifths with -O1.
# model/truth is arithmetic: `check` takes a tenth less time with vectors.
folder = $(firstword $(subst /, ,$(patsubst $(SRC)/%,%,$(1))))
level_agent = -O1
level_cli = -O1
level_io = -O2
level_model = -O2
level_tests = -O2
slower = $(if $(filter model/truth/%,$(patsubst $(SRC)/%,%,$(1))),,$(level_$(folder)))
level = $(if $(filter -O3,$(OPTIMIZE)),$(or $(slower),-O3),$(OPTIMIZE))
LINK = $(CC) $(OPTIMIZE) $(CFLAGS) $(SANITIZE) -pthread $(HARDEN_LINK) $(LDFLAGS)

# Everything compiled depends on this file, which changes with the tools and flags of configure or of make's command
# line.
BUILT_WITH = $(B)/obj/built-with
tools := $(strip $(CC) $(CPPFLAGS) $(WARNINGS) $(OPTIMIZE) $(CFLAGS) $(SANITIZE) $(ARCH_FLAGS) $(AR) $(OBJCOPY) \
    $(LDFLAGS) $(STATIC_FLAGS) $(SHARED_FLAGS) $(HARDEN_FLAGS) $(HARDEN_LINK) $(HARDEN_PROGRAM) \
    $(foreach isa,$(ISAS),$(ISA_FLAGS_$(isa))) $(AMX_FLAGS))
ifdef ISAS # configured, and the goal is to build
ifneq ($(tools),$(shell cat $(BUILT_WITH) 2>/dev/null))
$(shell mkdir -p $(B)/obj && printf '%s\n' '$(subst ','\'',$(tools))' >$(BUILT_WITH))
endif
endif

define compile
$(call say,CC,$@)
@mkdir -p $(@D)
$(Q)$(COMPILE) $(1) -c -o $@ $<
endef

define link
$(call say,LINK,$@)
@mkdir -p $(@D)
$(Q)$(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)
endef

$(B)/obj/%.o: $(SRC)/%.c $(BUILT_WITH)
	$(call compile,$(if $(filter core/% simd/%,$*),,$(HARDEN_FLAGS)) $(if $(filter cli/ranks_mpi,$*),$(RANKS_FLAGS)))

# Ranks compare a checksum of the source of everything that computes; it does not depend on what they were built for.
COMPUTES = $(foreach folder,$(LIB_FOLDERS) $(AGENT_FOLDERS),$(call sources,$(folder)/*.[ch]))
RANKS_FLAGS = $(MPI_FLAGS) -DDM_COMPUTES='"sources $(shell cd $(SRC) && cat $(COMPUTES) | cksum)"'
$(B)/obj/cli/ranks_mpi.o: $(addprefix $(SRC)/,$(COMPUTES)) $(CONFIG)

define isa_rule
$(B)/obj/simd/kernels/%_$(1).o: $(SRC)/simd/kernels/%.c $(BUILT_WITH)
	$$(call compile,$$(ISA_FLAGS_$(1)))
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

$(AMX_SOURCE:%.c=$(B)/obj/%.o): $(SRC)/$(AMX_SOURCE) $(BUILT_WITH)
	$(call compile,$(AMX_FLAGS))

# Recipes are part of the command: their lines as C strings (cli/recipes.h).
$(B)/obj/recipes.c: $(RECIPES)
	$(call say,GEN,$@)
	@mkdir -p $(@D)
	$(Q){ echo '#include "cli/recipes.h"'; \
	for f in $(RECIPES); do \
	    echo "static const char *const $$(basename $$f .json)[] = {"; \
	    sed -e 's/[\\"]/\\&/g' -e 's/.*/    "&",/' $$f; echo '    0};'; \
	done; \
	echo 'const cli_recipe cli_recipes[] = {'; \
	for f in $(RECIPES); do n=$$(basename $$f .json); echo "    {\"$$n\", $$n},"; done; \
	echo '    {0, 0}};'; } >$@.tmp && mv $@.tmp $@

$(B)/obj/recipes.o: $(B)/obj/recipes.c $(BUILT_WITH)
	$(call compile)

define archive
$(call say,AR,$@)
$(Q)rm -f $@ && $(AR) rcs $@ $^
endef

$(ENGINE): $(LIB_OBJECTS)
	$(call archive)

$(AGENT): $(AGENT_OBJECTS)
	$(call archive)

$(SUPPORT): $(SUPPORT_OBJECTS)
	$(call archive)

# One object whose hidden names are local, so that they meet no name of the program that links it.
$(B)/obj/libdmpo.o: $(LIB_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -r -nostdlib -o $@.tmp $^ && $(OBJCOPY) --localize-hidden $@.tmp && mv $@.tmp $@

$(STATIC_LIB): $(if $(OBJCOPY),$(B)/obj/libdmpo.o,$(LIB_OBJECTS))
	$(call archive)

$(B)/$(SHARED_FILE): $(LIB_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(SONAME) $(SHARED_FLAGS) -o $@ $^ $(LIBS)

$(B)/dmpo: $(CLI_OBJECTS) $(AGENT) $(ENGINE)
	$(call say,LINK,$@)
	$(Q)$(LINK) $(STATIC_FLAGS) $(HARDEN_PROGRAM) -o $@ $^ $(LIBS) $(MPI_LIBS)

# A rule each, by its source: a pattern over folders would find what is left of a test that moved.
unit = $(patsubst test_%.c,$(B)/tests/%,$(notdir $(1)))
define unit_rule
$(call unit,$(1)): $(B)/obj/$(1:.c=.o) $(SUPPORT) $(AGENT) $(ENGINE)
	$$(call link)
endef
$(foreach source,$(UNIT_SOURCES),$(eval $(call unit_rule,$(source))))

# cli/stream.c belongs to the command; its test is the only one that links a part of the command.
$(B)/tests/stream: $(B)/obj/cli/stream.o

$(B)/tests/checkasm: $(CHECKASM:%.c=$(B)/obj/%.o) $(SUPPORT) $(ENGINE)
	$(call link)

$(B)/tests/fuzz: $(FUZZ:%.c=$(B)/obj/%.o) $(SUPPORT) $(AGENT) $(ENGINE)
	$(call link)

# The same targets under libFuzzer: tests/fuzz/run.sh configures a build for it.
$(B)/fuzz: $(patsubst %.c,$(B)/obj/%.o,$(filter-out %/replay.c,$(FUZZ)) tests/fuzz/libfuzzer.c) $(AGENT) $(ENGINE)
	$(call say,LINK,$@)
	$(Q)$(LINK) -fsanitize=fuzzer -Wl,--wrap=dm_hash_key_get -o $@ $^ $(LIBS)

$(B)/bench/%: $(B)/obj/bench/%.o $(AGENT) $(ENGINE)
	$(call link)

.SECONDARY:
# Of the sources that exist alone: what is left of one that moved names a file that make cannot find.
OBJECTS = $(SIMD_OBJECTS) $(B)/obj/recipes.o $(patsubst %.c,$(B)/obj/%.o,$(LIB_SOURCES) $(AGENT_SOURCES) $(CLI_SOURCES) \
    $(SUPPORT_SOURCES) $(UNIT_SOURCES) $(CHECKASM) $(FUZZ) tests/fuzz/libfuzzer.c $(call sources,bench/*.c))
-include $(wildcard $(OBJECTS:.o=.d))

# ---- test, bench, demo ----

ENVIRONMENT = BUILD='$(abspath $(B))' SRC='$(abspath $(SRC))' CC='$(CC)' MAKE='$(MAKE)' EXEC_WRAPPER='$(EXEC_WRAPPER)'

# A user's two commands build on all processors, unless make was given -j.
ready: all
	@:
ready-tests: ready $(TESTS)
	@:
jobs = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))
build = $(MAKE) -f $(firstword $(MAKEFILE_LIST)) --no-print-directory $(jobs)

test:
	$(if $(filter yes,$(SLEEF)),$(error tests are about the numerics contract, which SLEEF breaks: configure without --with-sleef))
	@$(build) ready-tests
	@$(ENVIRONMENT) sh $(SRC)/tests/run.sh $(TESTS) $(addprefix $(SRC)/,$(SHELL_TESTS))

tests: $(TESTS)

bench: all $(BENCHES)
	@for b in $(BENCHES); do $(EXEC_WRAPPER) $$b || exit 1; done
	@$(ENVIRONMENT) sh $(SRC)/bench/prefix.sh

demo:
	@$(build) ready
	@$(ENVIRONMENT) sh $(SRC)/cli/demo.sh

# What the tables of options say, into README and the manual pages.
docs: $(PROGRAM)
	sh $(SRC)/docs/options.sh $(PROGRAM) $(SRC)

symbols: $(SHARED_LIB)
	$(if $(NM),,$(error make symbols needs nm: install binutils and run configure again))
	$(if $(SHARED_LIB),,$(error make symbols needs the shared library: configure without --disable-shared))
	$(NM) -D --defined-only $(SHARED_LIB) | sed -n 's/.* T //p' | LC_ALL=C sort >$(SRC)/include/dmpo.symbols

exhaustive: $(B)/tests/exact
	$(EXEC_WRAPPER) $(B)/tests/exact --exhaustive

asan: SANITIZER = address
ubsan: SANITIZER = undefined
tsan: SANITIZER = thread
asan ubsan tsan:
	@mkdir -p build-$@
	cd build-$@ && CC='$(CC)' $(abspath $(SRC))/configure --enable-sanitize=$(SANITIZER) && \
	    DMPO_TEST_FAST=1 $(MAKE) SRC=$(abspath $(SRC)) B=. test

FORMATTED = $(foreach d,$(LIB_FOLDERS) $(AGENT_FOLDERS) $(CLI_FOLDERS) $(UNIT_FOLDERS) tests/support tests/checkasm \
    tests/fuzz tests/faults bench bench/link include,$(call sources,$(d)/*.[ch]))
format-check:
	cd $(SRC) && clang-format --dry-run -Werror $(FORMATTED)

# ---- install ----

relocatable = $(patsubst $(prefix)/%,$${prefix}/%,$(1))
MAN_PAGES = $(addprefix $(SRC)/,$(call sources,docs/man/*.1))
DEST_BIN = $(DESTDIR)$(bindir)
DEST_LIB = $(DESTDIR)$(libdir)
DEST_INCLUDE = $(DESTDIR)$(includedir)
DEST_MAN = $(DESTDIR)$(mandir)/man1

$(B)/dmpo.pc: $(CONFIG) $(SRC)/include/dmpo.h
	@printf '%s\n' 'prefix=$(prefix)' 'libdir=$(call relocatable,$(libdir))' \
	    'includedir=$(call relocatable,$(includedir))' '' 'Name: dmpo' \
	    'Description: Direct Multi-Turn Preference Optimization of small transformers on CPU' \
	    'Version: $(VERSION)' 'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -ldmpo' \
	    'Libs.private: $(LIBS) -pthread' >$@

install: all $(B)/dmpo.pc
	install -d $(DEST_BIN) $(DEST_LIB)/pkgconfig $(DEST_INCLUDE) $(DEST_MAN)
	$(if $(PROGRAM),install -m 755 $(PROGRAM) $(DEST_BIN))
	install -m 644 $(STATIC_LIB) $(DEST_LIB)
	install -m 644 $(B)/dmpo.pc $(DEST_LIB)/pkgconfig
	install -m 644 $(SRC)/include/dmpo.h $(DEST_INCLUDE)
	$(if $(MAN_PAGES),install -m 644 $(MAN_PAGES) $(DEST_MAN))
ifeq ($(SHARED),yes)
	install -m 755 $(SHARED_LIB) $(DEST_LIB)
	ln -sf $(SHARED_FILE) $(DEST_LIB)/$(SONAME)
	ln -sf $(SONAME) $(DEST_LIB)/libdmpo.so
endif

uninstall:
	rm -f $(DEST_BIN)/dmpo $(DEST_INCLUDE)/dmpo.h $(DEST_LIB)/pkgconfig/dmpo.pc $(DEST_LIB)/libdmpo.a \
	    $(DEST_LIB)/$(SHARED_FILE) $(DEST_LIB)/$(SONAME) $(DEST_LIB)/libdmpo.so \
	    $(addprefix $(DEST_MAN)/,$(notdir $(MAN_PAGES)))

clean:
	rm -rf $(addprefix $(B)/,obj tests bench demo dmpo dmpo.pc libdmpo.a libdmpo.so.*)

distclean: clean
	rm -f $(addprefix $(B)/,config.h config.mk config.log config.status)
	rm -rf build-asan build-ubsan build-tsan
	$(if $(filter-out .,$(B)),[ ! -d $(B) ] || rmdir $(B),rm -f Makefile)

.PHONY: all ready ready-tests test tests bench demo symbols exhaustive asan ubsan tsan format-check install uninstall clean distclean
