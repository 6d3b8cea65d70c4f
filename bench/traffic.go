package main

import "context"

func measureTraffic(context.Context, *world) error { return nil }
