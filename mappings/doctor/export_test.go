package doctor

// Judged gives what each check, named by id, what it looks at and what is right,
// comes to: true where it fired, false where it had nothing to say. What is
// unknown or left out is not there.
func Judged(f Facts) map[[3]string]bool {
	out := map[[3]string]bool{}
	for _, table := range tables() {
		for _, c := range table {
			if c.live && !f.Answers.Asked {
				continue
			}
			if v := c.look(f); v.unknown == "" {
				out[[3]string{c.id, c.looked, c.right}] = v.found != ""
			}
		}
	}
	return out
}

// Names lists all checks as [Judged] names them.
func Names() [][3]string {
	var out [][3]string
	for _, table := range tables() {
		for _, c := range table {
			out = append(out, [3]string{c.id, c.looked, c.right})
		}
	}
	return out
}
