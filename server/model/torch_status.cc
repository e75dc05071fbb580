#include "server/model/torch_status.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>

#include "base/strings.h"

namespace shira {
namespace {

absl::Status StatusOfTorchError(std::string_view doing, std::string_view what) {
  // LibTorch has no type of its own for want of CPU memory.
  const bool is_memory = what.find("DefaultCPUAllocator") != std::string_view::npos;
  return absl::Status(
      is_memory ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal,
      StrCat(doing, ": ", what));
}

}  // namespace

absl::Status StatusOfCurrentException(std::string_view doing) {
  try {
    throw;
  } catch (const c10::Error& error) {
    return StatusOfTorchError(doing, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(StrCat(doing, ": out of memory"));
  } catch (const std::exception& error) {
    return StatusOfTorchError(doing, error.what());
  } catch (...) {
    return absl::InternalError(StrCat(doing, ": unknown exception"));
  }
}

}  // namespace shira
