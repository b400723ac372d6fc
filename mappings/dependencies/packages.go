package dependencies

import (
	"regexp"
	"slices"
	"strings"
)

// entry matches a line of a plugin's frontmatter, as Open WebUI's pattern does.
var entry = regexp.MustCompile(`(?i)^\s*([a-z_]+):\s*(.*)$`)

// Requirements gives the packages that a plugin's frontmatter asks for. Open WebUI
// cuts at every comma, so that it cannot install "a>=1,<2" or "a[x,y]"; here those
// stay whole.
func Requirements(content string) []string {
	lines := strings.Split(strings.ReplaceAll(content, "\r", "\n"), "\n")
	if strings.TrimSpace(lines[0]) != `"""` {
		return nil
	}
	value := ""
	for _, l := range lines[1:] {
		if strings.Contains(l, `"""`) {
			break
		}
		if m := entry.FindStringSubmatch(l); m != nil && m[1] == "requirements" {
			value = m[2] // the last one counts
		}
	}
	var out []string
	open := 0
	for _, part := range strings.Split(value, ",") {
		part = strings.TrimSpace(part)
		if n := len(out); n > 0 && (open > 0 || part != "" && strings.ContainsRune("<>=!~", rune(part[0]))) {
			out[n-1] += "," + part
		} else if part != "" {
			out = append(out, part)
		}
		open += strings.Count(part, "[") - strings.Count(part, "]")
	}
	return out
}

// credentials are what an address of a package may have before its host and after
// its path.
var credentials = regexp.MustCompile(`(://)[^/\s]*@|\?[^#\s]+`)

func (f *finder) plugins(all []Plugin) {
	for _, p := range all {
		for _, r := range Requirements(p.Content) {
			clean := short(credentials.ReplaceAllString(r, "${1}"))
			note := ""
			switch {
			case clean != short(r):
				note = "its address holds a user, a password or a query, which is not written: complete the line"
			case !p.Installs:
				note = "not installed at a start: the function is not active, or the tool is not an administrator's"
			case strings.Contains(r, ","):
				note = "Open WebUI cuts this at the comma and cannot install it"
			}
			f.add(Item{Kind: Package, Where: p.Kind + " " + p.ID, What: clean, Note: note})
			if clean != short(r) {
				clean = "# complete the address: " + clean
			}
			if !slices.Contains(f.Requirements, clean) {
				f.Requirements = append(f.Requirements, clean)
			}
		}
	}
	slices.Sort(f.Requirements)
}
