"""A leaderboard: archives of runs that keep its rules, and the pages made of them."""
