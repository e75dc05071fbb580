// Linked into every program of a build with sanitizers, so that they do the same whatever starts a
// program. TSAN_OPTIONS, ASAN_OPTIONS and so on are read after these, and win.

extern "C" {

// Allocations that no machine can give fail, as they do without a sanitizer: tests ask for some.
const char* __tsan_default_options() {
  return "allocator_may_return_null=1:suppressions=" SHIRA_SOURCE_DIR "/tests/tsan.supp";
}

// Tests preload a library that sets the clock, which comes before the sanitizer's.
const char* __asan_default_options() {
  return "allocator_may_return_null=1:verify_asan_link_order=0";
}

const char* __lsan_default_options() {
  return "print_suppressions=0:suppressions=" SHIRA_SOURCE_DIR "/tests/lsan.supp";
}

const char* __ubsan_default_options() { return "print_stacktrace=1"; }

}  // extern "C"
