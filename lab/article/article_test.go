package article_test

import (
	"testing"

	"github.com/overlane/overlane/examples"
	"github.com/overlane/overlane/lab/article"
	"github.com/overlane/overlane/lab/labtest"
)

// The demonstration is a test, check by check.
func TestArticle(t *testing.T) {
	f, err := article.File(examples.Files, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.UpFile(t, f)
	for _, c := range article.Checks(l) {
		t.Run(c.Name, func(t *testing.T) {
			var seen article.Evidence
			if err := c.Run(t.Context(), &seen); err != nil {
				t.Errorf("%v\n%s", err, &seen)
			}
		})
	}
}
