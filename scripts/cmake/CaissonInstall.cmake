# SPDX-License-Identifier: BSD-3-Clause
# What a user of the library gets: public headers, one archive, the program, a CMake package and a
# pkg-config file. The archive holds the very objects that the tree's own programs link.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(objects "")
foreach(target caisson_pmem caisson_transport caisson_verbs caisson_log caisson_messages caisson_core
        caisson_engine_messages caisson_engine)
  caisson_objects(of_target ${target})
  list(APPEND objects ${of_target})
endforeach()
add_library(caisson STATIC ${objects})
add_library(caisson::caisson ALIAS caisson)
set_target_properties(caisson PROPERTIES LINKER_LANGUAGE CXX)
target_compile_features(caisson INTERFACE cxx_std_20)
target_include_directories(caisson INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(caisson
  PUBLIC tl::expected Threads::Threads
  PRIVATE PkgConfig::libpmem2 PkgConfig::libpmem PkgConfig::libisal PkgConfig::hwloc PkgConfig::libibverbs
          PkgConfig::librdmacm OpenSSL::SSL OpenSSL::Crypto protobuf::libprotobuf spdlog::spdlog)

install(DIRECTORY include/caisson DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS caisson EXPORT CaissonTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET caisson_cli)
  install(TARGETS caisson_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Caisson)
install(EXPORT CaissonTargets NAMESPACE caisson:: DESTINATION ${package_dir})
configure_package_config_file(scripts/cmake/CaissonConfig.cmake.in CaissonConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(CaissonConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/CaissonConfig.cmake
  ${PROJECT_BINARY_DIR}/CaissonConfigVersion.cmake DESTINATION ${package_dir})
# Relative, so that an installed tree may be moved.
file(RELATIVE_PATH CAISSON_PREFIX_FROM_PC
  ${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(scripts/cmake/caisson.pc.in caisson.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/caisson.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
