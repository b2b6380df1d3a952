#!/bin/sh
# repro_matrix.sh [WORD...]: builds build/tests/repro with every compiler, optimisation level, C library and
# architecture at hand, runs it, and prints a table of the hashes (f32, with shards, bf16, as they sort; their first 20
# digits), which must all be the committed ones. WORDs keep the rows that contain all of them (gcc, clang, musl,
# aarch64, arm, -O0). Skips and names what is not installed.
# SRC: the source directory; JOBS: for make. Ends with "repro_matrix: N passed, N failed".
set -u

src=$(cd "${SRC:-$(dirname "$0")/../..}" && pwd -P)
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
work=$(mktemp -d "${TMPDIR:-/tmp}/repro-matrix.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# f32, shards, bf16
want=$(sed -n 's/^static const char expected[a-z0-9_]*\[\] = "\([0-9a-f]*\)";$/\1/p' "$src/tests/unit/model/train/test_repro.c" |
    sort | tr '\n' ' ')
want=${want% }
words=$*
passed=0 failed=0 skipped=0

chosen() { # chosen NAME
    for word in $words; do
        case $1 in *"$word"*) ;; *) return 1 ;; esac
    done
}

row() { # row NAME HASH RESULT: the table's one line, counted
    printf '%-34s %-64s %s\n' "$1" "$2" "$3"
    case $3 in
    passed*) passed=$((passed + 1)) ;;
    skipped*) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
}

run() { # run NAME COMMAND...: one line of the table
    name=$1
    shift
    chosen "$name" || return 0
    start=$(date +%s)
    "$@" >"$work/out" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    hash=$(sed -n 's/^\([0-9a-f]\{64\}\) .*/\1/p' "$work/out" | sort -u | tr '\n' ' ')
    hash=${hash% }
    if [ "$status" = 0 ] && [ "$hash" = "$want" ]; then
        row "$name" "$(printf %s "$hash" | tr ' ' '\n' | cut -c1-20 | tr '\n' ' ')" "passed ($(grep -c '^[0-9a-f]\{64\} ' "$work/out") runs, $seconds s)"
    else
        row "$name" "${hash:--}" "FAILED (status $status)"
        grep -v '^[0-9a-f]\{64\} ' "$work/out" | tail -n 5 | sed 's/^/    /'
    fi
}

build() { # build DIR CFLAGS CONFIGURE-OPTION...: the library and repro; false when it cannot be built
    dir=$work/$1
    flags=$2
    shift 2
    (mkdir -p "$dir" && cd "$dir" && CFLAGS=$flags "$src/configure" "$@" &&
        make -j"$jobs" tests/repro) >"$work/log" 2>&1 && return 0
    tail -n 5 "$work/log" | sed 's/^/    /'
    return 1
}

wanted() { # wanted NAME...: is one of these rows asked for?
    for name in "$@"; do
        if chosen "$name"; then return 0; fi
    done
    return 1
}

folder() { printf '%s' "$*" | tr -c 'A-Za-z0-9' _; }

# native COMPILER FLAGS KIND...: builds once; each kind of linking is a row
native() {
    cc=$1 flags=$2 title="$(uname -m) $1 $2"
    shift 2
    wanted "$title" "$title -static" "$title shared" || return 0
    if ! command -v "$cc" >/dev/null 2>&1; then
        row "$title" - "skipped (no $cc)"
        return 0
    fi
    option=
    [ "$cc" != musl-gcc ] || option=--disable-shared
    # shellcheck disable=SC2086 # no option is no word
    if ! build "$(folder "$title")" "$flags" --cc="$cc" $option; then
        row "$title" - "FAILED to build"
        return 0
    fi
    for kind in "$@"; do
        case $kind in
        plain) run "$title" "$dir/tests/repro" ;;
        -static) run "$title -static" static_repro "$cc" "$dir" ;;
        shared) run "$title shared" shared_repro "$cc" "$dir" ;;
        esac
    done
    rm -rf "$dir"
}

static_repro() {
    "$1" -static "$2/obj/tests/unit/model/train/test_repro.o" "$2/obj/support.a" "$2/obj/engine.a" -o "$2/repro-static" -pthread -lm && "$2/repro-static"
}

# The training of libdmpo.so: repro has it from there, what is not exported from engine.a.
shared_repro() {
    file=libdmpo.so.$(sed -n 's/^#define DMPO_VERSION "\(.*\)"$/\1/p' "$src/include/dmpo.h")
    make -C "$2" "$file" && ln -sf "$file" "$2/${file%.*}" &&
        "$1" "$2/obj/tests/unit/model/train/test_repro.o" "$2/obj/support.a" "$2/$file" "$2/obj/engine.a" \
            -o "$2/repro-shared" -pthread -lm && nm -D "$2/repro-shared" | grep -q ' U dmpo_train$' &&
        LD_LIBRARY_PATH=$2 "$2/repro-shared"
}

# cross ARCH TRIPLET COMPILER FLAGS LEVEL...: a cross build; its levels under qemu
cross() {
    arch=$1 triplet=$2 cc=$3 flags=$4
    shift 4
    title="$arch $(printf '%s' "${cc%% *}" | sed "s/$triplet-//") $flags"
    rows=
    for isa in "$@"; do
        if chosen "$title $isa"; then rows="$rows $isa"; fi
    done
    [ -n "$rows" ] || return 0
    for tool in "${cc%% *}" "$triplet-gcc" "qemu-$arch"; do
        if ! command -v "$tool" >/dev/null 2>&1; then
            row "$title" - "skipped (no $tool)"
            return 0
        fi
    done
    if ! build "$(folder "$title")" "$flags" --cc="$cc" --cross-prefix="$triplet-" --disable-shared; then
        row "$title" - "FAILED to build"
        return 0
    fi
    for isa in $rows; do
        run "$title $isa" "qemu-$arch" -L "/usr/$triplet" "$dir/tests/repro" --isa "$isa"
    done
    rm -rf "$dir"
}

printf '%-34s %-64s %s\n' build hash result
native gcc -O3 plain # all of its runs; the others are short
DMPO_TEST_FAST=1
export DMPO_TEST_FAST
native gcc -O0 plain
native gcc -O1 plain
native gcc -O2 plain -static shared
native gcc '-O3 -march=native' plain
native clang -O0 plain
native clang -O1 plain
native clang -O2 plain shared
native clang -O3 plain
native clang '-O3 -march=native' plain
native musl-gcc -O2 plain -static
cross aarch64 aarch64-linux-gnu aarch64-linux-gnu-gcc -O3 neon scalar
cross aarch64 aarch64-linux-gnu 'clang --target=aarch64-linux-gnu' -O2 neon
cross arm arm-linux-gnueabihf arm-linux-gnueabihf-gcc -O3 scalar
cross arm arm-linux-gnueabihf 'clang --target=arm-linux-gnueabihf' -O2 scalar

printf 'repro_matrix: %d passed, %d failed' $passed $failed
[ $skipped = 0 ] || printf ', %d skipped' $skipped
printf '\n'
[ $failed = 0 ] && [ $passed -gt 0 ]
