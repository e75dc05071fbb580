// File: server/logging/request_scope.h
//
// Which request a thread works for, so that every line that it logs can say so.

#ifndef SHIRA_SERVER_LOGGING_REQUEST_SCOPE_H_
#define SHIRA_SERVER_LOGGING_REQUEST_SCOPE_H_

#include <string>
#include <string_view>
#include <utility>

namespace shira {

// From its construction to its end this thread works for the request. Scopes nest.
class RequestScope {
 public:
  explicit RequestScope(std::string request_id) : before_(std::exchange(current_, this)) {
    request_id_ = std::move(request_id);
  }
  ~RequestScope() { current_ = before_; }
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

  // Empty: this thread works for none. Valid until the innermost scope ends.
  static std::string_view CurrentRequestId() {
    return current_ == nullptr ? std::string_view() : std::string_view(current_->request_id_);
  }

 private:
  inline static thread_local const RequestScope* current_ = nullptr;

  std::string request_id_;
  const RequestScope* const before_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LOGGING_REQUEST_SCOPE_H_
