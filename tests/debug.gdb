# For gdb: prints Keel's texts and sets of fields, and the stack of a Lua state. Needs a gdb with Python, as Debian's is.
#
# Usage: gdb -x tests/debug.gdb --args lua5.4 script.lua
#
#   print text            a struct keel_text as its bytes
#   keel-fields run       the names of the fields that a struct keel_run gives, with those that are null
#   keel-lua L            the stack and the call chain of a lua_State *
python
import gdb

class TextPrinter:
    "A struct keel_text: its bytes, not a pointer."
    def __init__(self, value):
        self.value = value
    def to_string(self):
        size = int(self.value["size"])
        if int(self.value["data"]) == 0:
            return "null"
        return self.value["data"].string("utf-8", "backslashreplace", min(size, 4096)).__repr__()

def printer_of(value):
    if value.type.strip_typedefs().tag == "keel_text":
        return TextPrinter(value)

gdb.pretty_printers.append(printer_of)

class Fields(gdb.Command):
    "keel-fields RUN: the fields that a struct keel_run gives; those that are null in brackets."
    def __init__(self):
        super().__init__("keel-fields", gdb.COMMAND_DATA)
    def invoke(self, argument, from_tty):
        run = gdb.parse_and_eval(argument)
        while run.type.code == gdb.TYPE_CODE_PTR:
            run = run.dereference()
        words = run["given"]["words"]
        first, last = words.type.range()
        names = []
        for word in range(first, last + 1):
            given, valued = int(words[word]), int(run["valued"]["words"][word])
            for bit in range(64):
                if given >> bit & 1:
                    name = gdb.parse_and_eval("'fields.c'::fields[%d].name" % (word * 64 + bit)).string()
                    names.append(name if valued >> bit & 1 else "[" + name + "]")
        print(" ".join(names) or "none")

class LuaStack(gdb.Command):
    "keel-lua L: the values on the stack of a Lua state, and who called whom."
    def __init__(self):
        super().__init__("keel-lua", gdb.COMMAND_STACK)
    def invoke(self, argument, from_tty):
        state = int(gdb.parse_and_eval("(long)(%s)" % argument))
        def call(result, function, types, arguments):
            return gdb.parse_and_eval("((%s (*)(void *%s))%s)((void *)%d%s)" % (result, types, function, state, arguments))
        def text():
            value = call("const char *", "lua_tolstring", ", int, void *", ", -1, (void *)0")
            call("void", "lua_settop", ", int", ", -2")
            return value.string("utf-8", "backslashreplace")
        for index in range(1, int(call("int", "lua_gettop", "", "")) + 1):
            call("void", "luaL_tolstring", ", int, void *", ", %d, (void *)0" % index)
            print("%3d  %s" % (index, text()))
        call("void", "luaL_traceback", ", void *, const char *, int", ", (void *)%d, (const char *)0, 0" % state)
        print(text())

Fields()
LuaStack()
end
