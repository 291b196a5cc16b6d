#!/usr/bin/env bats

bats_require_minimum_version 1.5.0

setup() {
  load 'test_helper/bats-support/load'
  load 'test_helper/bats-assert/load'
  load 'test_helper/bats-file/load'
  TMP=/tmp/bats
  mkdir -p "$TMP"
}

teardown() {
  rm -rf "$TMP"
}

@test "prints its version" {
  run app --version
  [ "$status" -eq 0 ]
  [ "$output" = "app 1.4.2" ]
}

@test "prints how it is used" {
  run app --help
  assert_success
  assert_line --index 0 "Usage: app COMMAND [OPTION]..."
  assert_line "Commands:"
  assert_line --partial "make a project"
  assert_output --regexp 'config +print'
  refute_output --partial "deprecated"
  refute_line "app"
  [ "${#lines[@]}" -eq 5 ]
}

@test "prints a table" {
  run app list
  [ "${lines[0]}" = "ID  NAME  PRICE" ]
  [[ "${lines[1]}" =~ ^1\ +tea ]]
  [ "${lines[-1]}" = "2   milk  1.20" ]
}

@test "refuses unknown commands" {
  run -2 app frobnicate
  [[ "$output" == *"unknown command: frobnicate"* ]]
  [[ "${lines[1]}" == "Try "* ]]
}

@test "says which key is missing" {
  run --separate-stderr app config nothing
  assert_failure 3
  assert_output ""
  [ "$stderr" = "app: no such key: nothing" ]
}

@test "makes a project once" {
  run app init "$TMP/shop"
  assert_success
  assert_output "made $TMP/shop"
  assert_file_exists "$TMP/shop/app.toml"
  assert_file_contains "$TMP/shop/app.toml" 'name = "shop"'
  assert_file_not_exists "$TMP/shop/app.lock"
  run app init "$TMP/shop"
  [ "$status" -ne 0 ]
  assert_output --partial "exists"
}

@test "greets" {
  run app greet <<<"Ada"
  assert_output "Hello, Ada!"
}

@test "lists as JSON" {
  run bash -c "app list --json | jq -r '.items[0].name'"
  assert_output "tea"
  assert_equal "$(app list --json | jq .total)" 2
}

@test "synchronizes" {
  skip "there is no network here"
  run app sync
}
