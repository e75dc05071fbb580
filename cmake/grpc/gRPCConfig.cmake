# The targets of what cmake/grpc/CMakeLists.txt built, under the names of gRPC's own package.
include(CMakeFindDependencyMacro)
list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")
find_dependency(Threads)
find_dependency(ZLIB)
find_dependency(Protobuf)
find_dependency(OpenSSL)
find_dependency(c-ares)
if(NOT TARGET absl::strings)
  find_dependency(absl CONFIG)
endif()
find_dependency(re2)
list(REMOVE_ITEM CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")
include("${CMAKE_CURRENT_LIST_DIR}/gRPCTargets.cmake")

# protoc's plugin is the system's: of the same version, and not in what runs.
find_program(SHIRA_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
add_executable(gRPC::grpc_cpp_plugin IMPORTED)
set_target_properties(gRPC::grpc_cpp_plugin PROPERTIES IMPORTED_LOCATION "${SHIRA_GRPC_CPP_PLUGIN}")
