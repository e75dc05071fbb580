# Third-party packages; docs/dependencies.md says why each is here.

# The thread sanitizer knows what a lock orders only if the lock is instrumented too (preset tsan). Before gRPC, which then takes the same.
set(SHIRA_ABSL "" CACHE PATH "An abseil in place of the system's")
if(SHIRA_ABSL)
  if(NOT EXISTS "${SHIRA_ABSL}/include/absl")
    message(FATAL_ERROR "No abseil in ${SHIRA_ABSL}: run SHIRA_TSAN=1 scripts/setup.sh first")
  endif()
  find_package(absl CONFIG REQUIRED PATHS "${SHIRA_ABSL}" NO_DEFAULT_PATH)
endif()

# gRPC is Debian's with the fixes of cmake/patches, static: scripts/setup.sh makes it, and nothing that is installed later takes its place.
# With its real path, so that another one means another command line. docs/security.md says what the system's lacks.
option(SHIRA_SYSTEM_GRPC "Link the system's gRPC, whose published faults are open" OFF)
macro(shira_find_grpc)
  file(REAL_PATH "${SHIRA_DEPS}/grpc" shira_grpc)
  set(shira_grpc "${shira_grpc}/lib/cmake/grpc")
  if(gRPC_DIR MATCHES "/grpc-[0-9a-f]+/")
    unset(gRPC_DIR CACHE)
  endif()
  if(SHIRA_SYSTEM_GRPC)
    message(STATUS "gRPC: the system's, without the fixes of cmake/patches")
  elseif(EXISTS "${shira_grpc}/gRPCConfig.cmake")
    set(gRPC_DIR "${shira_grpc}" CACHE PATH "gRPC's CMake package" FORCE)
  elseif(SHIRA_BUILD_SERVER)
    message(FATAL_ERROR "No gRPC in ${SHIRA_DEPS}/grpc: run scripts/setup.sh first, or configure with -DSHIRA_SYSTEM_GRPC=ON")
  else()
    message(STATUS "gRPC: the system's, since scripts/setup.sh has not made one; it lacks the fixes of cmake/patches")
  endif()
  find_package(gRPC CONFIG REQUIRED)
endmacro()

find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)                    # SHA-256, and TLS through gRPC
find_package(absl CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
if(SHIRA_BUILD_SERVER OR SHIRA_BUILD_CLIENT)
  find_package(PkgConfig REQUIRED)
  find_package(Protobuf REQUIRED)
  shira_find_grpc()
  find_package(ICU REQUIRED COMPONENTS uc)        # Unicode normalisation
endif()
if(SHIRA_BUILD_CLIENT)
  pkg_check_modules(LIBEDIT REQUIRED IMPORTED_TARGET libedit)
endif()
if(NOT SHIRA_BUILD_SERVER)
  return()
endif()

find_package(Boost 1.74 REQUIRED)                 # Asio and Beast: HTTP; headers alone
find_package(spdlog CONFIG REQUIRED)
find_package(hwy CONFIG REQUIRED)                 # SIMD in the decode kernels
find_package(prometheus-cpp CONFIG REQUIRED)      # metrics and the port that they are fetched from
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
if(SHIRA_BUILD_TESTS)
  find_package(GTest CONFIG REQUIRED)
endif()

# LibTorch: scripts/setup.sh links the headers that are LibTorch's own into one folder. Its include folder as it is also holds protobuf
# 3.13 and fmt 12, which would shadow the system's; for the same reason find_package(Torch) is not used.
set(SHIRA_TORCH "${SHIRA_DEPS}/torch")
if(NOT EXISTS "${SHIRA_TORCH}/include/ATen/ATen.h")
  message(FATAL_ERROR "No LibTorch in ${SHIRA_TORCH}: run scripts/setup.sh first")
endif()
add_library(shira_torch INTERFACE)
add_library(shira::torch ALIAS shira_torch)
target_include_directories(shira_torch SYSTEM INTERFACE "${SHIRA_TORCH}/include" "${SHIRA_TORCH}/include/torch/csrc/api/include")
get_filename_component(SHIRA_TORCH_LIB "${SHIRA_TORCH}/lib" REALPATH)
target_link_libraries(shira_torch INTERFACE
  "${SHIRA_TORCH_LIB}/libtorch.so" "${SHIRA_TORCH_LIB}/libtorch_cpu.so" "${SHIRA_TORCH_LIB}/libc10.so")
target_compile_definitions(shira_torch INTERFACE AT_PER_OPERATOR_HEADERS)  # or ATen's headers include all operators' after all
target_link_options(shira_torch INTERFACE "-Wl,-rpath,${SHIRA_TORCH_LIB}")
