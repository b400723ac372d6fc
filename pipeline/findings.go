package pipeline

// Findings collects findings and stays small whatever is wrong: of each reason
// and unit it keeps the first fifty one by one and counts the rest. Its zero
// value is empty.
type Findings struct {
	list  []Finding
	count map[findingKind]int64
}

type findingKind struct {
	reason Reason
	unit   string
}

// shownFindings bounds how many findings of one kind stand for themselves.
const shownFindings = 50

// Add adds one; its Count is set.
func (f *Findings) Add(x Finding) {
	if f.count == nil {
		f.count = map[findingKind]int64{}
	}
	k := findingKind{x.Reason, x.Unit}
	f.count[k]++
	if f.count[k] <= shownFindings {
		x.Count = 1
		f.list = append(f.list, x)
		return
	}
	for i := len(f.list) - 1; i >= 0; i-- {
		if l := &f.list[i]; l.Reason == x.Reason && l.Unit == x.Unit {
			if f.count[k] == shownFindings+1 {
				x.Key, x.Count = "", 1
				x.Text = "more of the same kind"
				f.list = append(f.list, x)
			} else {
				l.Count++
			}
			return
		}
	}
}

// List gives what is kept, in the order in which it was added.
func (f *Findings) List() []Finding { return f.list }
