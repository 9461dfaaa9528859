# SPDX-License-Identifier: BSD-3-Clause
# caisson_add_library(<name> SOURCES … PUBLIC … PRIVATE …)
# A static library of the tree; an interface library while its folder holds no sources.
function(caisson_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC caisson_flags ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE caisson_flags ${ARG_PUBLIC} ${ARG_PRIVATE})
  endif()
endfunction()

# caisson_objects(<variable> <target>): the target's objects as a generator expression, or nothing.
function(caisson_objects variable target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    set(${variable} "" PARENT_SCOPE)
  else()
    set(${variable} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
  endif()
endfunction()

# caisson_add_messages(<name> <file.proto>…): protobuf messages as a library, included by their path
# from the root of the tree. Generated code keeps its own warnings to itself.
function(caisson_add_messages name)
  if(NOT ARGN)
    add_library(${name} INTERFACE)
    return()
  endif()
  set(generated ${PROJECT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  foreach(proto IN LISTS ARGN)
    cmake_path(RELATIVE_PATH proto BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE stem)
    cmake_path(REMOVE_EXTENSION stem)
    set(outputs ${generated}/${stem}.pb.cc ${generated}/${stem}.pb.h)
    add_custom_command(OUTPUT ${outputs}
      COMMAND protobuf::protoc --cpp_out=${generated} -I${PROJECT_SOURCE_DIR} ${proto}
      DEPENDS ${proto} VERBATIM)
    list(APPEND sources ${outputs})
  endforeach()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} SYSTEM PUBLIC ${generated})
  target_link_libraries(${name} PUBLIC protobuf::libprotobuf)
endfunction()
