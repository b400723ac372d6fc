package pipeline

import "testing"

func TestFindings(t *testing.T) {
	var f Findings
	for i := range 200 {
		f.Add(Finding{Reason: "a", Key: "k", Text: "one"})
		if i < 3 {
			f.Add(Finding{Reason: "b", Unit: "u"})
		}
	}
	list := f.List()
	if len(list) != 50+1+3 {
		t.Fatalf("%d are kept", len(list))
	}
	if last := list[len(list)-1]; last.Reason != "a" || last.Count != 150 || last.Key != "" || last.Text == "one" {
		t.Errorf("the rest is %+v", last)
	}
	total := int64(0)
	for _, x := range list {
		total += x.Count
	}
	if total != 203 {
		t.Errorf("%d are counted", total)
	}
}
