package main

import (
	"reflect"
	"strings"
)

// withoutNulls makes an empty list of every nil one in v and below it, so that JSON has
// [] where the schema says array, never null. Lists that are left out when they
// are empty stay so.
func withoutNulls(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			withoutNulls(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			withoutNulls(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field, value := v.Type().Field(i), v.Field(i)
			if !field.IsExported() {
				continue
			}
			_, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			// Bytes are text in JSON.
			if value.Kind() == reflect.Slice && value.IsNil() && value.Type().Elem().Kind() != reflect.Uint8 && !strings.Contains(options, "omitempty") {
				value.Set(reflect.MakeSlice(value.Type(), 0, 0))
			}
			withoutNulls(value)
		}
	}
}
