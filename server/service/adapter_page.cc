#include "server/service/adapter_page.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/status_macros.h"
#include "server/service/field_problems.h"

namespace shira {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

}  // namespace

absl::StatusOr<AdapterPage> PageOf(std::vector<AdapterInfo> all,
                                   const v1::ListAdaptersRequest& request) {
  FieldProblems problems;
  std::string after;
  if (request.page_size() < 0) problems.Add("page_size", "is negative");
  if (!absl::WebSafeBase64Unescape(request.page_token(), &after)) {
    problems.Add("page_token", "is not the next_page_token of a page");
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());

  const size_t size =
      request.page_size() == 0 ? kDefaultPageSize : std::min(request.page_size(), kMaxPageSize);
  // No name is empty, so an empty `after` precedes them all.
  const auto begin = std::find_if(all.begin(), all.end(),
                                  [&](const AdapterInfo& info) { return info.name > after; });
  const auto end = std::next(begin, std::min<ptrdiff_t>(size, std::distance(begin, all.end())));
  AdapterPage page;
  page.adapters.assign(std::make_move_iterator(begin), std::make_move_iterator(end));
  if (end != all.end()) {
    page.next_page_token = absl::WebSafeBase64Escape(page.adapters.back().name);
  }
  return page;
}

}  // namespace shira
