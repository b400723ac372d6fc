package pipeline

import "slices"

// LevelsOf orders units for a [Leveler]: those of a level refer, by their names,
// to none of a later one. refers lists who refers to whom; a unit that refers to
// itself counts for nothing, and neither does a circle: such records may have to be
// tried again.
func LevelsOf(units []Unit, refers [][2]string) [][]Unit {
	level, names := map[string]int{}, map[string]bool{}
	for _, r := range refers {
		names[r[0]], names[r[1]] = true, true
	}
	for again := true; again; {
		again = false
		for _, r := range refers {
			// More levels than names: they refer to each other in a circle.
			if from, to := r[0], r[1]; from != to && level[from] <= level[to] && level[to] < len(names) {
				level[from], again = level[to]+1, true
			}
		}
	}
	var out [][]Unit
	for _, u := range units {
		for len(out) <= level[u.Name] {
			out = append(out, nil)
		}
		out[level[u.Name]] = append(out[level[u.Name]], u)
	}
	return slices.DeleteFunc(out, func(l []Unit) bool { return len(l) == 0 })
}
