# What scripts that look at the code share; they source it.

# Reads names of files, prints FILE:LINE: TEXT without comments. A string of Lua with -- in it is cut there: a rule may
# see too little, never too much.
c_code() {
	xargs -r awk '
		FNR == 1 { inside = 0 }
		{
			text = $0; code = ""
			while (text != "") {
				if (inside) {
					if (!(at = index(text, "*/"))) break
					text = substr(text, at + 2); inside = 0
				} else if (at = index(text, "/*")) {
					code = code substr(text, 1, at - 1); text = substr(text, at + 2); inside = 1
				} else {
					code = code text; break
				}
			}
			sub(/\/\/.*/, "", code)
			print FILENAME ":" FNR ": " code
		}'
}
lua_code() {
	xargs -r awk '
		FNR == 1 { inside = 0 }
		{
			text = $0
			if (inside) {
				if (!(at = index(text, "]]"))) next
				text = substr(text, at + 2); inside = 0
			}
			if (at = index(text, "--[[")) {
				inside = !index(substr(text, at), "]]"); text = substr(text, 1, at - 1)
			}
			sub(/--.*/, "", text)
			print FILENAME ":" FNR ": " text
		}'
}
