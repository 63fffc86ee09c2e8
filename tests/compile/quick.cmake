# For a build that is only to show that one can be made: that does not depend on how much the compiler optimizes, and
# make says what it does with one more process each time.
set(CMAKE_C_FLAGS_RELEASE "" CACHE STRING "")
set_property(GLOBAL PROPERTY RULE_MESSAGES OFF)
