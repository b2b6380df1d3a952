#!/bin/sh
# Headers: each compiles alone, and all of them compile in one source that includes each twice; include/dmpo.h is C++,
# too.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

# Chosen by simd/kernels/vec.h and gemm/gemm_level.h for one instruction set; included several times with other
# definitions.
parts='vec_[a-z0-9]* gemm/gemm_scalar gemm/gemm_avx2 gemm/gemm_avx512 gemm/gemm_neon gemm/gemm_mode gemm/triangular_rows'
# What every instruction set sees otherwise.
levels='vec vmath gemm/gemm_level'

of_kernels() { # of_kernels NAME...: a regular expression of these files
    printf 'simd/kernels/\\('
    printf '%s\\|' "$@"
    printf 'none\\)\\.h'
}

cd "$SRC" || exit 1
# shellcheck disable=SC2086 # lists of words
find include core io simd model agent cli bench tests -name '*.h' | LC_ALL=C sort |
    grep -vx "$(of_kernels $parts)" >"$work/headers"
cd "$work" || exit 1
mkdir alone level

# compiles FLAG... FILE...: with no warning
# shellcheck disable=SC2046,SC2086
compiles() {
    ${CC:-cc} -std=c11 -D_POSIX_C_SOURCE=200809L $(setting CPPFLAGS) $(setting CFLAGS) $(setting ARCH_FLAGS) -I"$BUILD" \
        -I"$SRC" -I"$SRC/include" -fsyntax-only -Werror -Wno-unused-command-line-argument "$@"
}

number=0
guarded() { # a guard that names the path, so that no two headers share one
    guard=DM_$(printf %s "$1" | tr 'a-z/.' 'A-Z__')
    [ "$1" != include/dmpo.h ] || guard=DMPO_H
    grep -qx "#ifndef $guard" "$SRC/$1" && grep -qx "#define $guard" "$SRC/$1"
}
while read -r header; do
    number=$((number + 1))
    echo "#include \"$header\"" >"alone/$number.c"
    echo "#include \"$header\"" >>once.c
    check "$header is guarded by DM_ and its path" guarded "$header"
done <headers
cat once.c once.c >all.c

scalar=$(setting ISA_FLAGS_scalar)
# shellcheck disable=SC2086
check "each header compiles alone" compiles $scalar alone/*.c
# shellcheck disable=SC2086
check "all headers compile in one source" compiles $scalar all.c

for header in $levels; do
    echo "#include \"simd/kernels/$header.h\"" >"level/$(basename "$header").c"
done
for isa in $(setting ISAS); do
    # shellcheck disable=SC2046
    check "the headers of kernels compile alone for $isa" compiles $(setting "ISA_FLAGS_$isa") level/*.c
done

cxx=${CXX:-c++}
if command -v "$cxx" >/dev/null 2>&1; then
    echo '#include <dmpo.h>' >dmpo.cc
    check "dmpo.h compiles as C++" "$cxx" -std=c++11 -Wall -Wextra -Werror -I"$SRC/include" -fsyntax-only dmpo.cc
else
    skip "no C++ compiler here (CXX, c++): dmpo.h as C++"
fi

finish headers
