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
