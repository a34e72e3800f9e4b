"""What model files look like from outside: headers read and checked before a native parser opens one."""
