// File: server/version.h

#ifndef SHIRA_SERVER_VERSION_H_
#define SHIRA_SERVER_VERSION_H_

#include <string_view>

namespace shira {

// The project's version, from CMakeLists.txt.
inline constexpr std::string_view kVersion = SHIRA_VERSION;

}  // namespace shira

#endif  // SHIRA_SERVER_VERSION_H_
