#include "server/model/kv_cache.h"

#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

int64_t PagesFor(int64_t tokens) {
  return tokens / kPageTokens + (tokens % kPageTokens == 0 ? 0 : 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(std::shared_ptr<KvPagePool> pool,
                                                         int64_t capacity) {
  if (capacity <= 0) {
    return absl::InvalidArgumentError(
        StrCat("KV cache: expected a capacity of at least 1 token, found ", capacity));
  }
  auto cache = std::unique_ptr<KvCache>(new KvCache(capacity, std::move(pool)));
  SHIRA_RETURN_IF_ERROR(cache->TakePages(PagesFor(capacity)));
  return cache;
}

KvCache::~KvCache() { pool_->Return(pages_); }

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Fork(int64_t tokens, int64_t capacity) const {
  if (tokens < 0 || tokens > length_ || tokens > capacity || capacity <= 0) {
    return absl::InvalidArgumentError(StrCat("KV cache: ", tokens, " tokens of a sequence of ",
                                             length_, " for one of at most ", capacity));
  }
  auto fork = std::unique_ptr<KvCache>(new KvCache(capacity, pool_));
  const int64_t shared = tokens / kPageTokens;
  const auto source = absl::MakeConstSpan(pages_).first(shared);
  fork->pages_.reserve(PagesFor(capacity));
  fork->pages_.assign(source.begin(), source.end());
  pool_->Share(source);
  SHIRA_RETURN_IF_ERROR(fork->TakePages(PagesFor(capacity) - shared));
  if (tokens % kPageTokens != 0) {
    std::memcpy(fork->pages_[shared], pages_[shared], pool_->page_bytes());
  }
  fork->length_ = tokens;
  return fork;
}

absl::Status KvCache::TakePages(int64_t count) {
  // Asked first: a list of more pages than there are may not even fit the memory.
  if (count <= pool_->free_pages() && pool_->Take(count, pages_)) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat(
      "KV cache: ", capacity_, " tokens take ", count, " more pages of ", pool_->page_bytes(),
      " bytes, but ", pool_->used_bytes(), " of ", pool_->budget_bytes(), " bytes are in use"));
}

}  // namespace shira
