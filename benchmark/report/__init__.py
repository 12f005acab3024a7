"""From run folders to tables and figures; imports neither torch nor a tracker."""
